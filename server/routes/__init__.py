"""Request handlers, thin: take the request apart, one transaction, answer."""
