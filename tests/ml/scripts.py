"""Short texts in four scripts, out of copyright for centuries, and a tiny model of all of them."""

from __future__ import annotations

from pathlib import Path

from ml.config import TrainConfig
from ml.data.corpus import build
from ml.training.trainer import Trainer
from ml.versions.release import release_best
from ml.versions.version import Version

GREEK = """Ἄνδρα μοι ἔννεπε, Μοῦσα, πολύτροπον, ὃς μάλα πολλὰ
πλάγχθη, ἐπεὶ Τροίης ἱερὸν πτολίεθρον ἔπερσεν·
πολλῶν δ' ἀνθρώπων ἴδεν ἄστεα καὶ νόον ἔγνω.
"""
CYRILLIC = """У лукоморья дуб зелёный;
Златая цепь на дубе том:
И днём и ночью кот учёный
Всё ходит по цепи кругом.
"""
# The first third of the Thousand Characters: no character comes twice.
CHINESE = """天地玄黃宇宙洪荒。日月盈昃辰宿列張。寒來暑往秋收冬藏。閏餘成歲律呂調陽。
雲騰致雨露結為霜。金生麗水玉出崑岡。
劍號巨闕珠稱夜光。果珍李柰菜重芥薑。海鹹河淡鱗潛羽翔。龍師火帝鳥官人皇。始制文字乃服衣裳。推位讓國有虞陶唐。
弔民伐罪周發殷湯。坐朝問道垂拱平章。愛育黎首臣伏戎羌。遐邇一體率賓歸王。鳴鳳在竹白駒食場。化被草木賴及萬方。
蓋此身髮四大五常。恭惟鞠養豈敢毀傷。女慕貞潔男效才良。知過必改得能莫忘。罔談彼短靡恃己長。信使可覆器欲難量。
墨悲絲染詩讚羔羊。景行維賢克念作聖。德建名立形端表正。空谷傳聲虛堂習聽。禍因惡積福緣善慶。尺璧非寶寸陰是競。
資父事君曰嚴與敬。孝當竭力忠則盡命。臨深履薄夙興溫凊。似蘭斯馨如松之盛。川流不息淵澄取映。容止若思言辭安定。
"""
# The Iroha, and a name whose first character lies beyond the first 65,536: two units in UTF-16, one
# character.
JAPANESE = """いろはにほへと　ちりぬるを　わかよたれそ　つねならむ
うゐのおくやま　けふこえて　あさきゆめみし　ゑひもせす
色は匂へど散りぬるを、我が世誰ぞ常ならむ。有為の奥山今日越えて、浅き夢見じ酔ひもせず。
𠮷野の山のさくらばな
"""
SCRIPTS = {"greek": GREEK, "cyrillic": CYRILLIC, "chinese": CHINESE, "japanese": JAPANESE}
BOOK_CHARS = 9_000


def write_script(folder: Path, name: str) -> Path:
    """Write a book in the script `name`, long enough to train on, and return its path."""
    folder.mkdir(parents=True, exist_ok=True)
    text = SCRIPTS[name]
    (folder / f"{name}.txt").write_text(text * (1 + BOOK_CHARS // len(text)), encoding="utf-8")
    return folder / f"{name}.txt"


def train_version(source: Path, folder: Path) -> Version:
    """Train a tiny model on the texts in `source`, side by side, and return its version.

    All files lie in `folder`.
    """
    corpus = build(source, folder / "corpus")
    lanes = len(corpus.books)
    chars = lanes * 32 * 512
    config = TrainConfig(
        hidden_size=64, num_layers=1, batch_size=lanes, sequence_length=32,
        max_chars=chars, validate_every=chars, warmup_steps=10, learning_rate=2e-2,
        validation_chars=500, sample_chars=40, threads=1, device="cpu",
    )  # fmt: skip
    Trainer(config, corpus, folder / "run").run()
    return release_best(corpus, folder / "run", title="Four scripts", threads=1)
