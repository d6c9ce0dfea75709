"""Benchmarks: what a server of its own, its database and its Redis need for what they are asked.

Called by the commands *_benchmark. Processor time is what counts: it survives a busy machine.
Nothing here is a test, and nothing here may be asserted by one.
"""
