"""What is sent to other systems, whatever they speak: the queue with its leases and pauses, the
process that works through it, and what a receiver remarks.
"""
