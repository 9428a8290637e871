"""How fast the study's steps are on this machine, beside what users do today.

Conventions: `python -m tmp_utils bench` and `--gpu`. Seconds are of the wall clock, and a GPU is waited for. What is
compared runs in one process, on the same weights and clips, in turns, after one turn that is not counted; a ratio is
the median of the turns' ratios, above 1 where ours is faster. Achieved FLOP/s count the products that the
mathematics asks for, not those that gradient checkpointing repeats.

timing    : turns, ratios, and where a step's time goes.
flops     : operations of a UNet pass, and the machine's matrix-multiplication peak.
compare   : ours beside the public loop: training steps, generation, metrics.
estimate  : operations of whole runs at that size, for a GPU that is not at hand.
full_size : one step or clip at AudioLDM-M's size with random weights, with peak memory.
finite    : whether half precision overflows anywhere.
evening   : both of these on a GPU, into a table (`make bench-gpu`, `make gpu-evening`).
"""
