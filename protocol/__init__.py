"""What crosses the network and how a block is sealed: the package that both ends share.

Everything here is synchronous and free of I/O: values, encoders and arithmetic. It must not import
``fs``, ``backend`` or ``server``.
"""
