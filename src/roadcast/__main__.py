"""`python -m roadcast`, which is also how torchrun starts it: `torchrun --nproc-per-node 2 -m roadcast train ...`."""

from roadcast.cli.main import main

main()
