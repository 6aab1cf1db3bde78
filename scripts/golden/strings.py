"""The strings on which the tokenizers are compared: the same list every time.

strings() yields (kind, text). The kinds are the lines of the table in
docs/interop.md. Texts are made from the lists below by a seeded generator;
tokenizer.py writes the ids, text/parity_test.go reads them back.
"""
import html.entities
import random
import unicodedata

NOUNS = """cat dog puppy kitten horse elephant giraffe butterfly sparrow lighthouse bridge castle mountain waterfall
volcano desert rainforest coastline harbour sailboat bicycle motorcycle locomotive helicopter spaceship telescope
microscope violin saxophone accordion teapot saucepan refrigerator dishwasher armchair bookshelf chandelier doorknob
necklace bracelet sunglasses sneakers sweater raincoat umbrella backpack suitcase passport newspaper typewriter
keyboard smartphone headphones skateboard snowboard surfboard trampoline sandcastle snowman pumpkin artichoke
aubergine strawberry pineapple croissant pancakes spaghetti sushi ramen burrito cheeseburger milkshake espresso
astronaut firefighter ballerina blacksmith fisherman grandmother toddler skyscraper cathedral pagoda windmill
greenhouse playground supermarket laundromat observatory""".split()
ADJECTIVES = """red blue green tiny huge old new wooden rusty shiny furry spotted striped broken abandoned sleeping
running smiling vintage hand-made black-and-white close-up low-resolution pixelated blurry sunlit snowy foggy
ultra-realistic minimalist art-deco""".split()
PLACES = """in the garden|on a table|at sunset|by the sea|in New York|near Zürich|in São Paulo|on the kitchen counter
|under a tree|at the 2019 fair|in front of the Eiffel Tower|on Route 66|at -20 °C|behind bars|in 4K""".replace("\n", "").split("|")
TEMPLATES = """a photo of a {n}.|a bad photo of the {n}.|A {a} {n} {p}|{n}, {m} and {a} {m}|the {n}'s {m}|{N} – stock photo
|{A} {N} {p} | Etsy|I've seen {a} {n}s; they're {p}|Close-up of {a} {n} {p}, shot on film (1{d}mm f/{d}.{d})|{n}_{m}_{d}{d}{d}.jpg
|IMG_{d}{d}{d}{d}.JPG|{N} {M} Set of {d}, ${d}{d}.99|#{n} #{m} #{a}{n}|https://example.com/{n}/{m}?id={d}{d}&q={a}+{n}
|"{n}" or '{m}'?|{n}/{m} ({a})|{N}: {a}... {m}!!!|What is a {n}? It isn't a {m}, we'll see, I'd say.|{d}{d}% off {n}s & {m}s
|@{n}{d} says: the {m} wasn't {a}|{n}\u2019s \u201c{m}\u201d \u2014 {a}\u2026|1,{d}{d}{d}.5{d} {n}s per m\u00b2|{A}{N}{M}|{n}-{m}-{a}
|vector illustration of {a} {n}, {m} and other {a} things, isolated on white background, eps{d}""".replace("\n", "").split("|")

OTHER_SCRIPTS = {
    "cjk": """日本語の猫の写真|一只可爱的小猫在桌子上|東京タワーの夜景|中文 mixed with English 单词|繁體中文網頁|ラーメンと餃子|ﾊﾝｶｸ ｶﾀｶﾅ|ひらがな、カタカナ、漢字。
|한국어 문장입니다|서울의 야경 사진|각 각 가나다|ＦＵＬＬ　ＷＩＤＴＨ　ｔｅｘｔ１２３|「引用」『二重』【強調】〜〽︎|㊗️㈱㎏℡№|𠮷野家の𩸽|〇一二三四五六七八九十百千万|䷀䷁ ⺀⻳ ㄅㄆㄇ|注音ㄓㄨˋ ㄧㄣ""",
    "rtl": """مرحبا بالعالم|صورة قطة على الطاولة|السَّلَامُ عَلَيْكُمْ|עִבְרִית עם נִקּוּד|שלום עולם|تصویر یک گربه|اردو میں بلی|\u200fRLM\u200e and LRM|abc \u202bאבג\u202c def|١٢٣٤٥٦٧٨٩٠ ۱۲۳۴۵|ﷺ ﷲ ﻻ ﻼ|ܫܠܡܐ|ދިވެހި|كـــتـــاب""",
    "scripts": """Привет, мир! Кошка на столе|Ελληνικά: ΟΔΥΣΣΕΥΣ ΣΊΣΥΦΟΣ σοφός|ΑΣ. Σ ΑΣΑ Σ'Α ΑΣ'|ქართული ენა ᲥᲐᲠᲗᲣᲚᲘ|Հայերեն լեզու և|हिन्दी में बिल्ली की तस्वीर|বাংলা ভাষা|தமிழ் மொழி|తెలుగు భాష|ಕನ್ನಡ|മലയാളം|ภาษาไทยไม่มีช่องว่าง|ພາສາລາວ|မြန်မာဘာသာ|ភាសាខ្មែរ|བོད་སྐད|አማርኛ ቋንቋ|ᏣᎳᎩ ᎦᏬᏂᎯᏍᏗ ꮳꮃꭹ|ᚠᚢᚦᚨᚱᚲ|Tiếng Việt có dấu: Ổ Ữ Ặ|İstanbul ISPARTA ığdır|STRASSE Straße ẞ|ǅ ǈ ǋ ǲ Ǆ|ŉ ĳ Ĳ ſ ﬅ|𝕳𝖊𝖑𝖑𝖔 𝒲𝑜𝓇𝓁𝒹 𝐀𝟏|Ⓐⓑⓒ ①②③ ⑴ ⒈|ªº ʰʲ ₁₂³ ½⅓¼ ⅧⅨ ⅷ|ߊߋߌ|ꦗꦮ|𐐀𐐨 𐒰𐓘 Ⰰⰰ Ꙁꙁ|ᎠᎡ""",
}
EMOJI = """😀 😂 🥰 👍 👍🏻 👍🏽 👍🏿 👨‍👩‍👧‍👦 👩🏽‍🚀 👨🏿‍🦰 🧑‍🤝‍🧑 🏳️‍🌈 🏴‍☠️ 🏴󠁧󠁢󠁥󠁮󠁧󠁿 🇩🇪 🇯🇵 🇧🇷 ❤️ ❤ ❤️‍🔥 ☀️ ☎︎ ✂️ ©️ ®️ ™️ #️⃣ 1️⃣ 0⃣ 🐈‍⬛ 🐕‍🦺 🍕 🎉
🥹 🫠 🫶🏾 🪿 🫨 🧌 ♂️ ♀️ 🤷🏼‍♀️ 🕵️‍♂️ 🅰️ 🆒 ㊙️ ▶️ ⏯️ ↔️ ✔️ ➡️ 〰️ 🀄 🃏 🧿 🦩""".split()
MARKS = "\u0300\u0301\u0302\u0303\u0304\u0306\u0307\u0308\u030a\u030b\u030c\u0323\u0327\u0328\u0331\u0338\u0345\u034f\u20dd\u20e3\u093c\u05bc\u064e\u0e34\u3099\u309a"
SPACES = "\t\n\x0b\x0c\r\x1c\x1d\x1e\x1f \x85\xa0\u1680\u180e\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u200b\u200c\u200d\u2028\u2029\u202f\u205f\u2060\u3000\ufeff"
ENTITIES = """&amp; &lt;b&gt; &quot;q&quot; &#39;s &#x27;re &nbsp; &copy; &eacute; &Eacute; &AMP; &amp;amp; &amp;lt;br&amp;gt; &amp;amp;amp; &amp;#39;
&ampfoo &amp &lt &copy2020 &notit; &notin; &hellip; &mdash; &ldquo;x&rdquo; &lsquo;y&rsquo; &#8217; &#128512; &#x1F600; &#0; &#x0; &#xD800; &#x110000;
&#99999999; &#x80; &#150; &#x9f; &#xfdd0; &#11; &#xZZ; &#; &#x; & &; &unknown; &Unknown &CounterClockwiseContourIntegral; &fjlig; &NotEqualTilde; &bne; &zwj;
&shy; &ensp; &thinsp; &lrm; &Tab; &NewLine; &lbrace; &frac12; &sup2; &times; &alpha; &Omega; &euro; &szlig; &amp;eacute; &#38;amp; &#x26;lt; &amp;amp;#39; &GT &LT; &gt""".split()
MOJIBAKE_SOURCE = """café naïve Zürich “quotes” it’s – — … € £20 ½ ° São Paulo señor garçon Ångström 日本語 Привет 😀 ﬁne ™ ® œuvre""".split()
SPECIAL = """<|startoftext|> <|endoftext|> <|ENDOFTEXT|> <|endoftext| <start_of_text> <end_of_text> <|pad|> <|unk|> [CLS] [MASK] ! </w> <w/> a</w> Ġ Ċ ##s""".split()


def captions(rng, n):
    for _ in range(n):
        t = rng.choice(TEMPLATES)
        word = lambda pool: rng.choice(pool)
        noun, other = word(NOUNS), word(NOUNS)
        a = word(ADJECTIVES)
        text = t.replace("{n}", noun).replace("{m}", other).replace("{a}", a).replace("{p}", word(PLACES))
        text = text.replace("{N}", noun.title()).replace("{M}", other.upper()).replace("{A}", a.title())
        while "{d}" in text:
            text = text.replace("{d}", str(rng.randrange(10)), 1)
        yield text


def assigned(rng, ranges):
    """A random character that Unicode had assigned by version 14."""
    while True:
        c = rng.randrange(*rng.choice(ranges))
        if unicodedata.category(chr(c)) not in ("Cn", "Cs", "Co"):
            return chr(c)


COMMON = [(0x20, 0x250), (0x250, 0x600), (0x1E00, 0x2000), (0x2000, 0x2C00), (0x3000, 0x3100), (0x4E00, 0x9FA5), (0xAC00, 0xD7A3), (0xFB00, 0xFFF0), (0x1F300, 0x1F650)]
ALL = [(0x20, 0x3000), (0x3000, 0xD7A4), (0xF900, 0x10000), (0x10000, 0x13000), (0x16800, 0x17000), (0x1B000, 0x1B200), (0x1D000, 0x1F000), (0x1F000, 0x1FB00), (0x20000, 0x2A000)]


def strings():
    rng = random.Random(20240415)
    pick = lambda pool: rng.choice(pool)
    cat = "a cat on a mat".split()

    yield from (("empty", s) for s in ("", " ", "\t\n", "\u00a0", "\u3000 ", "\u200b", "\x00"))
    for s in captions(rng, 1500):
        yield "captions", s
    for script, texts in OTHER_SCRIPTS.items():
        for s in texts.replace("\n", "").split("|"):
            yield script, s
            yield script, s.upper() + " " + s.lower()
            yield script, unicodedata.normalize("NFD", s)
            yield script, pick(NOUNS) + s + pick(NOUNS)
            yield script, s[: rng.randrange(1, len(s) + 1)] + " " + pick(NOUNS).upper()
    for _ in range(500):
        yield "emoji", pick(["", pick(NOUNS), pick(NOUNS) + " "]) + "".join(pick(EMOJI) + pick(["", "", " "]) for _ in range(rng.randrange(1, 6))) + pick(["", "!", pick(NOUNS)])
    for e in ENTITIES:
        yield "html", e
    for _ in range(400):
        words = [pick(NOUNS), pick(ENTITIES), pick(["", pick(ENTITIES)]), pick(ADJECTIVES), pick(["", "", "<b>bold</b>", "<br>", "<"])]
        rng.shuffle(words)
        yield "html", pick(["", " "]).join(words)
    names = sorted(html.entities.html5)
    for _ in range(250):
        yield "html", pick(["x", "", " ", "A"]) + "&" + pick(names) + pick(["", ";", "b", " ", "="])
    for _ in range(600):
        base = "".join(pick("aeiouAEIOUnNcCsSyYgGkKlLrRzZ가ㄱ가かハअשلก=<") + "".join(pick(MARKS) for _ in range(rng.randrange(0, 4))) for _ in range(rng.randrange(1, 8)))
        yield "marks", unicodedata.normalize(pick(["NFC", "NFD", "NFKD"]), base) if rng.random() < 0.6 else base
    for c in "\u212b\u2126\u212a\u1f71\u0958\u2adc\u0344\u0f43\ufb1d\U0001d15e\u0374\u037e\u0387\u1fef\u2000\u2329\uf900\u0340\u0f73\u1100\u1161\u11a8":
        yield "marks", c
        yield "marks", "x" + c + "y " + c + c
    for c in SPACES:
        yield "space", f"a{c}b"
        yield "space", f"{c}cat {c}{c} dog{c}"
        yield "space", f"it{c}'s 1{c}2 !{c}?"
    for _ in range(250):
        yield "space", "".join(pick(cat) + "".join(pick(SPACES) for _ in range(rng.randrange(0, 4))) for _ in range(rng.randrange(1, 7)))
    for c in [*range(0x20), *range(0x7F, 0xA0), 0xAD, 0x61C, 0x200E, 0x2066, 0xFFF9, 0xFFFC, 0xFFFD, 0xFFFE, 0xE0001, 0xE000, 0x10FFFF, 0xFDD0]:
        yield "control", f"A{chr(c)}b {chr(c)} \u00e9{chr(c)}'s"
    for _ in range(150):
        yield "control", "".join(pick([pick(cat), chr(rng.randrange(0x20)), chr(rng.randrange(0x7F, 0xA0)), " "]) for _ in range(rng.randrange(2, 12)))
    for s in ("\x1b[31mred\x1b[0m text", "\x1b[1;32mgreen", "\x1b]0;title\x07x", "a\x1b[2Kb"):
        yield "control", s
    for s in SPECIAL:
        yield "special", s
        yield "special", f"text {s} more"
        yield "special", f"a{s}{s}b"
    for _ in range(120):
        yield "special", "".join(pick([pick(NOUNS), pick(SPECIAL), " "]) for _ in range(rng.randrange(2, 6)))
    for text in MOJIBAKE_SOURCE + ["the café’s “crème brûlée” – 3 €", "Ü", "É", "à", "l’été", "ÄÖÜß äöü"]:
        for encoding in ("latin-1", "cp1252", "cp437", "macroman", "cp1251"):
            try:
                broken = text.encode("utf-8").decode(encoding)
            except UnicodeDecodeError:
                continue
            yield "mojibake", broken
            yield "mojibake", f"{pick(NOUNS)} {broken} {pick(NOUNS)}"
    for s in ("\u2018a\u2019 \u201cb\u201d \u201ec\u201f \u00abd\u00bb \u2039e\u203a \u2032\u2033", "ﬁ ﬂ ﬀ ﬃ ﬄ ﬅ ﬆ", "Ｆｕｌｌ　ｗｉｄｔｈ！？～", "ﾊﾟﾋﾟ ﾞﾟ", "\ud83d\ude00", "\udc80 lone", "line\r\nbreak\rold\u2028sep\u2029par\u0085nel", "ĳ ŉ ǆ", "\ufeffBOM", "a\ufeffb", "\x80\x85\x93\x94\x99", "&quot;<b>&quot;", "L&amp;M", "ﬁ&ﬂ;", "\ufff9anno\ufffatated\ufffb"):
        if all(not 0xD800 <= ord(c) < 0xE000 for c in s):
            yield "ftfy", s
    for _ in range(150):
        yield "ftfy", "".join(pick([pick(NOUNS), " ", pick("\u2018\u2019\u201a\u201b\u201c\u201d\u201e\u201f`\u00b4\"'"), pick("ﬀﬁﬂﬃﬄﬅﬆĲĳŉǄǅǆ"), chr(rng.randrange(0xFF01, 0xFFF0)), pick("\r\n\u2028\u2029\x85"), "&amp;", "\u3000"]) for _ in range(rng.randrange(2, 9)))
    for _ in range(200):
        n = rng.randrange(60, 140)
        kind = rng.randrange(5)
        if kind == 0:
            s = " ".join(pick(NOUNS) for _ in range(n))
        elif kind == 1:
            s = "".join(pick(NOUNS) for _ in range(n))
        elif kind == 2:
            s = "".join(pick("😀日àب1!") for _ in range(n))
        elif kind == 3:
            s = pick("xyz!7é日😀") * n * rng.choice([1, 1, 5])
        else:
            s = " ".join(captions(rng, n // 8))
        yield "long", s
    for length in range(70, 82):  # around the 77 of CLIP
        yield "long", "cat " * length
        yield "long", "!" * length
        yield "long", "7" * length
    yield "long", "lorem ipsum " * 5000
    yield "long", "a" * 10000
    for _ in range(500):
        yield "common", "".join(assigned(rng, COMMON) + pick(["", "", " "]) for _ in range(rng.randrange(1, 12)))
    for _ in range(300):
        yield "any", "".join(assigned(rng, ALL) + pick(["", "", " "]) for _ in range(rng.randrange(1, 12)))
    for _ in range(200):
        yield "contractions", "".join(pick(["it", "IT", "'s", "'S", "'t", "'re", "'RE", "'ve", "'m", "'ll", "'LL", "'d", "'", "\u2019s", "''", " ", "1", "é", "'ſ", "'K"]) for _ in range(rng.randrange(2, 9)))


if __name__ == "__main__":
    import collections
    counts = collections.Counter(kind for kind, _ in strings())
    print(counts, sum(counts.values()))
