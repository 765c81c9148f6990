"""Fine-tuning jobs: what tenants order, what a worker of the trainer makes of it, and what both may see.

    create ─▶ validating_files ─▶ queued ─▶ running ─▶ succeeded | failed
                     └──────── a tenant may pause, resume and cancel until then

A worker has a job by a lease (`claiming.py`), and every write of it names the lease: one that has lost it changes
nothing. A job that is cancelled is over at once; its worker finds that out when it renews.
"""
