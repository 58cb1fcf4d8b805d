"""toyroad: a small deterministic driving world with exact pose, depth, LiDAR and radar, drawn with numpy and OpenCV.

world = ToyWorld(seed=1, height=128, width=256, weather="clear")
world.step(steer=0.2, throttle=0.5)
image, metres = world.render(), world.depth()
"""

from roadcast.data.toyroad.driver import Driver
from roadcast.data.toyroad.world import RoadState, ToyWorld

__all__ = ["Driver", "RoadState", "ToyWorld"]
