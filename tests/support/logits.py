"""What a head says of clips as they are, by the proxy."""

from facedep_jax.head.batched_forward import proxy_logits


def member_logits(head, tokens, times, mask):
    """Proxy logits (m, n) of clips by every member."""
    return proxy_logits(head.class_logits(tokens, times, mask), head.positive)
