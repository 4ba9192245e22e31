"""Texts on which tokenizers are compared: what is rare in real text, and breaks tokenizers."""
import random

SPACES = [*"\t\n\v\f\r ", *map(chr, (0x85, 0xA0, 0x1680, *range(0x2000, 0x200B), 0x2028, 0x2029, 0x202F, 0x205F, 0x3000))]
NEARLY_SPACES = [chr(point) for point in (0x1C, 0x1F, 0x180E, 0x200B, 0x200C, 0x200D, 0x2060, 0xFEFF)]
CONTRACTIONS = ["'s", "'S", "'t", "'re", "'RE", "'Re", "'ve", "'m", "'ll", "'lL", "'d", "'D", "'", "''", "'\u017f", "\u2019s", "'r", "'v", "'l"]
MARKS = [chr(point) for point in (0x300, 0x301, 0x308, 0x327, 0x334, 0x345, 0x5B0, 0x94D, 0x1DF6, 0x20DD, 0x3099, 0xFE0F, 0x1F3FB, 0xE0101)]
LETTERS = ["a", "B", "e\u0301", "\u00e9", "\u212b", "\u0130", "\u00df", "\u0149", "\u03c9", "\u0416", "\u05d0", "\u0639", "\u0915", "\u0e01", "\u1e69",
           "\u3042", "\u6f22", "\uac00", "\u1100\u1161\u11a8", "\ufb01", "\uff21", "\U00010400", "\U0001D400", "\U00020000", "\U00031350"]
NUMBERS = ["0", "7", "42", "1234567", "\u0663", "\u00b2", "\u00bd", "\u2167", "\u3007", "\u4e00", "\U0001D7D8", "\U00011DE0", "\U00016FF4"]
OTHERS = [*"!\"#$%&()*+,-./:;<=>?@[\\]^_`{|}~", "\u00ab", "\u2014", "\u2026", "\u20ac", "\U0001F642", "\U0001F468\u200d\U0001F469", "\u0000", "\u0007",
          "\u007f", "\u0080", "\ufffd", "\ufffe", "\U0010FFFF", "\ue000"]
WORDS = "the of and house Water don't I'll we've THEY'RE it's x1y2 foo_bar http://a.b/c?d=1 3.14159 2024-11-27 C++ \u00fcber na\u00efve".split()


def text(draw, added):
    """One text; `added`: the added tokens of the tokenizer."""
    def any_character():
        while True:
            point = draw.choice((draw.randrange(0x80), draw.randrange(0x800), draw.randrange(0x10000), draw.randrange(0x110000)))
            if not 0xD800 <= point < 0xE000:
                return chr(point)

    def token():
        content = draw.choice(added)
        return draw.choice((content, content, content[:-1], content[1:], content.upper(), content + content))

    kinds = [lambda: draw.choice(SPACES), lambda: draw.choice(SPACES) * draw.randrange(1, 5), lambda: " " * draw.randrange(1, 4),
             lambda: draw.choice(NEARLY_SPACES), lambda: draw.choice(CONTRACTIONS), lambda: draw.choice(MARKS), lambda: draw.choice(LETTERS),
             lambda: draw.choice(LETTERS) * draw.randrange(1, 30), lambda: draw.choice(NUMBERS), lambda: draw.choice(OTHERS),
             lambda: draw.choice(WORDS), lambda: draw.choice(WORDS) + " ", any_character]
    if added:
        kinds.append(token)
    chosen = draw.sample(kinds, draw.randrange(1, len(kinds) + 1))
    return "".join(draw.choice(chosen)() for _ in range(draw.randrange(0, draw.choice((3, 12, 40)))))


def texts(count, added, seed):
    draw = random.Random(seed)
    return [text(draw, added) for _ in range(count)]
