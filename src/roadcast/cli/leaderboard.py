"""`roadcast leaderboard`."""

from pathlib import Path

from roadcast.cli.console import say, show_table


def leaderboard(paths: list[Path], /, *, score: str = "psnr", rows: int = 20) -> None:
    """Rank finished runs and evaluations: those that were measured by one protocol, and none against another's.

    Examples:
      roadcast leaderboard runs/ablation runs/sweep runs/mine/evaluation
      roadcast leaderboard runs/ablation --score warp_error@8

    Every protocol has a board of its own. Scores stand with half their 95 % interval over clips: neighbours whose intervals overlap
    are not told apart here; `roadcast compare` holds two evaluations against each other clip by clip.

    Args:
        paths: Folders that `roadcast ablate`, `sweep` or `evaluate` made.
        score: NAME@FRAMES, such as psnr@8; a name alone is taken at the last horizon.
        rows: Rows to show of each board.
    """
    from roadcast.research.leaderboard import collect
    from roadcast.research.table import leaderboards

    found = collect(paths)
    for one, table in leaderboards(found, score):
        p = one.protocol
        say(
            f"reel {p['dataset'][:12]}, split {p['split']}, {len(p['clips'])} clips of {p['height']}x{p['width']}, "
            f"{p['context']} real frames and {p['horizon']} imagined"
        )
        show_table(table[: rows + 1])
        if len(table) > rows + 1:
            say(f"and {len(table) - rows - 1} more")
