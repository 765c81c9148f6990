"""Fine-tuning jobs: a worker claims them by lease, and a child process for each does the work.

    registry ◀─ rows, leases ─▶ worker ─ folder, signals ─▶ child: `python -m trainer.jobs.child FOLDER`
                                worker ◀─ JSON lines ───── child

A child knows no registry: it reads its folder and writes into it, and says what happens in lines on its standard
output. A worker knows no torch.
"""
