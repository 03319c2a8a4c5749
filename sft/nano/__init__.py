"""How the tiny base policy `vtscot/nano` is made: demo worlds in memory, tasks on them, levels from easy to hard."""
