"""What decoding says of an item whose rows are there and whose listing is not: it is decoded once more for that.

A run that is killed between the commit of a shard and of its listings leaves such items.
"""

from facedep_jax.cache.shard_writer import ShardWriter
from facedep_jax.errors import MediaError
from facedep_jax.extraction.plan import ExtractionPlan
from facedep_jax.media import ClipInfo, InputSettings, open_clip, read_image
from facedep_jax.media.file_hashing import hash_content, read_content
from facedep_jax.sources import Listing


def account_of_unlisted(writer: ShardWriter, plan: ExtractionPlan, listing: Listing, item: str) -> dict[str, str]:
    """The account of an item that no listing names, once, by member of its listing; nothing for any other.

    The rows are whole: where the file cannot be decoded now, or is another by now, that is what is said.
    """
    if item not in writer.unlisted:
        return {}
    writer.unlisted.discard(item)
    try:
        return _account(listing, item, plan.input_settings(listing.kind))
    except MediaError as error:
        return {"decoding": f"not known any more what was odd about it: {error.reason}"}


def account_of(info: ClipInfo) -> dict[str, str]:
    """What decoding says of a clip, by member of its listing."""
    return {"decoding": info.account, "clip_light": info.light}


def _account(listing: Listing, item: str, settings: InputSettings) -> dict[str, str]:
    if listing.kind == "image":
        content = read_content(listing.file)
        picture = read_image(listing.file, content.data, settings)
        now, said = content.item, {"decoding": picture.account}
    else:
        with open_clip(listing.file, settings) as clip:
            for _ in clip:
                pass
            said = account_of(clip.info)
        now = hash_content(listing.file).item
    if now != item:
        raise MediaError("the file has changed since", stage="read")
    return said
