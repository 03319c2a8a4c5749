"""From mask tables to plans: facts about the target, how hard the query is, which windows and keyframes to look at."""

from vtscot.mining.plans import MiningSettings, mine

__all__ = ["MiningSettings", "mine"]
