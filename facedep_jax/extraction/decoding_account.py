"""What decoding says of an item whose rows are there and whose listing is not: it is decoded once more for that.

A run that is killed between the commit of a shard and of its listings leaves such items.
"""

from facedep_jax.cache.shard_writer import ShardWriter
from facedep_jax.extraction.plan import ExtractionPlan
from facedep_jax.media import open_clip, read_image
from facedep_jax.media.file_hashing import read_content
from facedep_jax.sources import Listing


def told_again(writer: ShardWriter, plan: ExtractionPlan, listing: Listing, item: str) -> str | None:
    """The account of an item that no listing names, once; None for any other. Raises MediaError."""
    if item not in writer.untold:
        return None
    writer.untold.discard(item)
    settings = plan.input_settings(listing.kind)
    if listing.kind == "image":
        return read_image(listing.file, read_content(listing.file).data, settings).account
    with open_clip(listing.file, settings) as clip:
        for _ in clip:
            pass
        return clip.info.account
