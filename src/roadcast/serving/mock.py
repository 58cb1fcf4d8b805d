"""A session without a model (moving test picture for now)."""

import copy

import cv2
import numpy as np


class MockSession:
    actions = ("steer", "throttle", "brake")

    def __init__(self, height=128, width=256, fps=20.0):
        self.height, self.width, self.fps = height, width, fps
        self.scenes = ["Road 1", "Road 2", "Road 3"]
        self.reset()

    def reset(self, scene=0, seed=0):
        self._x, self._s, self._v = scene * 0.2, 0.0, 5.0
        return self._draw()

    def step(self, action):
        self._x += action["steer"] * 0.05
        self._v = max(0, self._v + action["throttle"] - action["brake"])
        self._s += self._v / self.fps
        return self._draw()

    def _draw(self):
        h, w = self.height, self.width
        im = np.full((h, w, 3), (130, 170, 210), np.uint8)
        im[h // 2:] = (90, 110, 80)
        c = w / 2 + self._x * w
        cv2.fillPoly(im, [np.array([[c - 4, h // 2], [c + 4, h // 2], [w * .9, h], [w * .1, h]], np.int32)], (80, 80, 85))
        for k in range(8):
            z = 1 + (k - self._s / 2 % 1) * 1.5
            if z > 0.5:
                y = int(h / 2 + h / 2 / z)
                cv2.circle(im, (int(w / 2 + (c - w / 2) * (1 - 1 / z)), y), max(1, int(6 / z)), (240, 240, 230), -1)
        return im

    def snapshot(self):
        return copy.copy(self.__dict__)

    def restore(self, snapshot):
        self.__dict__.update(snapshot)
