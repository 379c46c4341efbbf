"""CelebA's forty attributes, as far as a face's factors decide them.

Attributes that the drawing does not decide, such as Attractive, Male and Young, are -1
on every face.
"""

from pipeline.sources.celeba.attributes import ATTRIBUTE_NAMES
from pipeline.synthetic.factors import Factors


def list_attributes(factors: Factors) -> tuple[int, ...]:
    """Returns the forty attributes of a face, 1 or -1, in CelebA's order."""
    has_hair = factors.hair_length > 0
    is_true = {
        "5_o_Clock_Shadow": factors.beard == "stubble",
        "Arched_Eyebrows": factors.brow_arch > 0.65,
        "Bald": not has_hair,
        "Bangs": has_hair and bool(factors.has_bangs),
        "Big_Lips": factors.lip_fullness > 0.7,
        "Big_Nose": factors.nose_size > 0.7,
        "Black_Hair": has_hair and factors.hair_color == "black",
        "Blond_Hair": has_hair and factors.hair_color == "blond",
        "Brown_Hair": has_hair and factors.hair_color == "brown",
        "Bushy_Eyebrows": factors.brow_thickness > 0.7,
        "Chubby": factors.face_width > 0.75,
        "Eyeglasses": factors.glasses != "none",
        "Goatee": factors.beard == "goatee",
        "Gray_Hair": has_hair and factors.hair_color == "gray",
        "Mouth_Slightly_Open": factors.mouth_open > 0.5,
        "Mustache": factors.beard in ("mustache", "goatee", "full"),
        "Narrow_Eyes": factors.eye_openness < 0.25,
        "No_Beard": factors.beard == "none",
        "Pale_Skin": factors.skin_tone < 0.15,
        "Receding_Hairline": has_hair
        and not factors.has_bangs
        and factors.hairline > 0.8,
        "Rosy_Cheeks": bool(factors.rosy_cheeks),
        "Sideburns": factors.beard == "full",
        "Smiling": factors.smile > 0.5,
        "Straight_Hair": has_hair and factors.hair_wave < 0.35,
        "Wavy_Hair": has_hair and factors.hair_wave > 0.65,
        "Wearing_Earrings": bool(factors.earrings),
        "Wearing_Lipstick": bool(factors.lipstick),
    }
    return tuple(1 if is_true.get(name, False) else -1 for name in ATTRIBUTE_NAMES)
