"""What crosses the network, as msgspec structs: a module for each subject.

Nothing here knows how a message is sent, or what is done with it.
"""
