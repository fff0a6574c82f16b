"""Make the sample corpora that `zoo pretrain --tiny` and tests read.

    python tools/make_sample_corpus.py [FOLDER]

FOLDER defaults to `zoo_cli/data/samples/corpus`. Documents are put together from the plots and word lists below, which
were written for this project; nothing is copied from a corpus. A document keeps its names from the first sentence to
the last, so that a masked word can be guessed from the others. The same files come out each time.
"""

from __future__ import annotations

import sys
from pathlib import Path
from random import Random

ROOT = Path(__file__).resolve().parent.parent
DOCUMENTS = 240


def words(text: str) -> list[str]:
    return text.split()


CHINESE = {
    "人": words("李明 王芳 张老师 陈医生 小梅 老赵 林先生 周女士 刘经理 黄师傅"),
    "地": words("北京 上海 海边 山里 小镇 学校 公司 医院 南方 家乡"),
    "时": words("星期一 星期天 去年春天 昨天晚上 今天早上 上个月 国庆节"),
    "物": words("一本书 一辆自行车 一台电脑 一张地图 两个苹果 一件衣服 一部手机 一幅画"),
    "事": words("学习 工作 开会 旅行 看病 买东西 参加比赛 看朋友"),
    "天": words("晴天 小雨 大风 多云 大雪"),
}
CHINESE_PLOTS = (
    (
        "{时}，{人}去{地}{事}。",
        "那天是{天}，路上的人很少。",
        "{人}带了{物}，放在包里。",
        "到了{地}，{人}先找地方休息。",
        "{事}用了整整一天时间。",
        "最后{人}高兴地回家了。",
    ),
    (
        "{人}想买{物}。",
        "{时}，{人}来到{地}的商店。",
        "商店里的人告诉{人}，{物}已经卖完了。",
        "{人}只好第二天再来。",
        "第二天是{天}，{人}终于买到了{物}。",
    ),
    (
        "天气预报说，{时}有{天}。",
        "因为{天}，{地}的活动改到了下个星期。",
        "{人}本来要去{地}{事}。",
        "现在{人}只能在家里等消息。",
        "大家都希望天气快点好起来。",
    ),
    (
        "{人}在{地}住了十年。",
        "在{地}，{人}每天早上跑步，晚上看书。",
        "{时}，{人}收到了{物}。",
        "{物}是一个老朋友送的。",
        "{人}说，这是最好的礼物。",
    ),
    (
        "我们公司在{地}有一个新的项目。",
        "项目的负责人是{人}。",
        "{人}从{时}开始准备。",
        "准备工作包括{事}和写报告。",
        "报告写完以后，{人}交给了经理。",
        "经理认为{人}做得很好。",
    ),
)
MEDICAL = {
    "病": words("感冒 高血压 糖尿病 肺炎 胃炎 过敏 头痛 失眠 贫血 咳嗽"),
    "症": words("发烧 头晕 恶心 咳嗽 乏力 胸口疼 呼吸困难 睡不好 没有食欲"),
    "查": words("血常规 胸部CT 心电图 尿常规 血压 血糖 胃镜"),
    "药": words("阿司匹林 抗生素 止咳药 维生素 胰岛素 降压药 退烧药"),
    "人": words("病人 患者 老人 孩子 这位女士 这位先生"),
    "日": words("三天 一周 两周 半个月 一个月"),
}
MEDICAL_PLOTS = (
    (
        "{人}因为{症}来医院看病。",
        "{症}已经有{日}了。",
        "医生让{人}做{查}。",
        "{查}的结果说明是{病}。",
        "治疗{病}要按时吃{药}。",
        "{日}以后，{人}的{症}好了。",
    ),
    (
        "{病}是一种常见的病。",
        "得了{病}的人常常{症}。",
        "检查{病}可以做{查}。",
        "{药}对{病}有效，但是有副作用。",
        "{药}的副作用包括恶心和失眠。",
    ),
    (
        "问：得了{病}可以吃{药}吗？",
        "答：可以，但是要先做{查}。",
        "如果吃{药}以后{症}，应该马上停药。",
        "一般{日}以后要复查{查}。",
    ),
    (
        "{人}有{病}，长期吃{药}。",
        "最近{日}，{人}感觉{症}。",
        "家里人带{人}去做了{查}。",
        "医生说{病}控制得不好，要换一种药。",
        "{人}不能自己停{药}。",
    ),
)
ENGLISH = {
    "name": words("Anna Peter Maria John Helen David Laura Thomas Susan Martin"),
    "place": words("London Paris school hospital station museum village office garden library"),
    "day": words("Monday Tuesday Friday Sunday"),
    "thing": words("book letter picture ticket camera computer bicycle present"),
    "food": words("bread soup fruit rice cake fish"),
    "weather": words("rain snow wind sun"),
}
ENGLISH_PLOTS = (
    (
        "On {day} {name} went to the {place} to buy a {thing}.",
        "The {place} was closed because of the {weather}.",
        "{name} waited for two hours and ate some {food}.",
        "Then {name} went home without the {thing}.",
        "The next day {name} came back and bought the {thing}.",
    ),
    (
        "{name} works in the {place} from {day} to Saturday.",
        "Every morning {name} has {food} and reads a {thing}.",
        "The people in the {place} like {name} very much.",
        "Last year they gave {name} a {thing}.",
        "{name} still has the {thing} at home.",
    ),
    (
        "The weather report says that there will be {weather} on {day}.",
        "{name} wanted to go to the {place} on {day}.",
        "Because of the {weather} {name} will stay at home.",
        "There is enough {food} in the kitchen.",
        "{name} will write a letter about the {thing}.",
    ),
    (
        "There is a new {thing} in the {place}.",
        "{name} was the first to see the {thing}.",
        "It was {day}, and the {weather} was strong.",
        "Everybody in the {place} talked about the {thing}.",
        "After that they had {food} and went home.",
    ),
)


def documents(plots: tuple[tuple[str, ...], ...], lists: dict[str, list[str]], seed: int) -> str:
    """Documents of one sentence a line, with a blank line after each."""
    random = Random(seed)
    texts = []
    for _ in range(DOCUMENTS):
        chosen = {slot: random.choice(entries) for slot, entries in lists.items()}
        texts.append("".join(f"{sentence.format(**chosen)}\n" for sentence in random.choice(plots)))
    return "\n".join(texts)


def main() -> None:
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "zoo_cli" / "data" / "samples" / "corpus"
    folder.mkdir(parents=True, exist_ok=True)
    for name, plots, lists, seed in (
        ("zh.txt", CHINESE_PLOTS, CHINESE, 1),
        ("medical.txt", MEDICAL_PLOTS, MEDICAL, 2),
        ("en.txt", ENGLISH_PLOTS, ENGLISH, 3),
    ):
        (folder / name).write_text(documents(plots, lists, seed), encoding="utf-8")


if __name__ == "__main__":
    main()
