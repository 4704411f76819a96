"""Everything on Procrastinate: the queue, the inbox of deliveries, retries, the rescue of jobs.

It may import the store and what is below it; the engine, which runs the jobs, imports it.
"""
