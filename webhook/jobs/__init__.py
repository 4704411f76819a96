"""What is to be done later: the inbox of deliveries, and the dispatcher that does what is due.

It may import the store and what is below it; the engine does the work, and `webhook.worker` joins
both.
"""
