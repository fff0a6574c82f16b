"""Make the sample data sets that `--tiny` runs, tutorials and tests use.

    python tools/make_sample_data.py [FOLDER]

FOLDER defaults to `zoo_cli/data/samples`. Everything is put together from the templates and word lists below, which
were written for this project: people, places, companies, books and games are invented, and nothing is copied from a
corpus. The files have the formats of the corpora after whose recipes they are named. The same files come out each time.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random

ROOT = Path(__file__).resolve().parent.parent


def words(text: str) -> list[str]:
    return text.split()


SURNAMES = "王李张刘陈杨赵黄周吴徐孙胡朱高林何郭马罗"
GIVEN = words(
    "建国 晓明 雨桐 志强 海燕 文博 秀英 子涵 立新 佳慧 春生 小梅 光明 思远 天成 月华 宏伟 丽娜 一凡 若水 平 静 勇 敏 峰"
)
PLACES = words(
    "青河市 云安市 白石县 松林镇 南湖区 东平省 金沙江 望月山 新港市 石桥村 西岭县 海门湾 平川市 北山省 清水镇 "
    "长风岛 红叶谷 双塔区 丰谷县 星湖市 大原省 银杏路 古渡口 临江市"
)
FIRMS = words("远大 新光 华泰 长青 天河 东海 金石 博远 飞云 明日 恒通 百川 星辰 四方 宏图")
FIRM_ENDS = words("科技公司 银行 集团 电子公司 航空公司 食品公司 保险公司 汽车集团")
BODY_ENDS = words("大学 医院 研究所 报社 足球俱乐部 博物馆 交响乐团 环保协会")
OFFICE_ENDS = words("市政府 教育局 法院 公安局 税务局 外交部 气象局")


def person(random: Random) -> str:
    return random.choice(SURNAMES) + random.choice(GIVEN)


def place(random: Random) -> str:
    return random.choice(PLACES)


def firm(random: Random) -> str:
    return random.choice(FIRMS) + random.choice(FIRM_ENDS)


def body(random: Random) -> str:
    return random.choice(FIRMS + [name[:2] for name in PLACES]) + random.choice(BODY_ENDS)


def office(random: Random) -> str:
    return random.choice(PLACES)[:2] + random.choice(OFFICE_ENDS)


def organization(random: Random) -> str:
    return random.choice((firm, body, office))(random)


def date(random: Random) -> str:
    month, day = random.randint(1, 12), random.randint(1, 28)
    return random.choice(
        (f"{random.randint(1985, 2024)}年{month}月", f"{month}月{day}日", "去年秋天", "上周五", "今年春天")
    )


@dataclass
class Filled:
    """A sentence with the places of what was filled in: (slot, label, start, end)."""

    text: str
    slots: list[tuple[str, str, int, int]]


Makers = dict[str, list[str] | Callable[[Random], str]]
"""Slot -> the words to choose from, or what makes one."""

SLOT = re.compile(r"\{(\w+?)(\d*)\}")


def fill(template: str, makers: Makers, random: Random) -> Filled:
    """Fill the slots ``{LABEL}`` or ``{LABEL1}`` of a template; no two of them get the same words."""
    text, last = "", 0
    slots: list[tuple[str, str, int, int]] = []
    used: set[str] = set()
    for match in SLOT.finditer(template):
        text += template[last : match.start()]
        maker = makers[match[1]]
        word = ""
        while not word or word in used:
            word = random.choice(maker) if isinstance(maker, list) else maker(random)
        used.add(word)
        slots.append((match[1] + match[2], match[1], len(text), len(text) + len(word)))
        text += word
        last = match.end()
    return Filled(text + template[last:], slots)


def sentences(templates: Sequence[str], makers: Makers, random: Random) -> Iterator[tuple[int, Filled]]:
    """Different sentences without end, the templates in turn; the first value is the number of the template."""
    seen = set()
    while True:
        for number in random.sample(range(len(templates)), len(templates)):
            filled = fill(templates[number], makers, random)
            if filled.text not in seen:
                seen.add(filled.text)
                yield number, filled


# -- Named entities in MSRA's format -----------------------------------------------------------------------------------

NER_TEMPLATES = [
    "{PER}出生在{LOC}，后来到{ORG}工作。",
    "{ORG}昨天在{LOC}召开了年会。",
    "记者{PER}从{LOC}报道。",
    "据{ORG}介绍，{PER}将于下月访问{LOC}。",
    "{PER1}和{PER2}是多年的老同学。",
    "从{LOC1}到{LOC2}的火车今天晚点了两个小时。",
    "{ORG1}与{ORG2}签订了合作协议。",
    "{ORG}的负责人{PER}没有回答这个问题。",
    "去年夏天，{PER}一个人走遍了{LOC}。",
    "{LOC}今天有小雨，出门请带伞。",
    "{PER}说，这笔钱会全部捐给{ORG}。",
    "大雪封路，{LOC}的学校停课一天。",
    "在{ORG}学习四年之后，{PER}回到了家乡{LOC}。",
    "{PER}打电话给{ORG}，却一直没有人接。",
    "{LOC}的苹果今年卖出了好价钱。",
    "会议由{PER1}主持，{PER2}作了报告。",
    "{ORG}计划在{LOC1}和{LOC2}各建一座工厂。",
    "老人姓名叫{PER}，家住{LOC}。",
    "{ORG}发布公告，任命{PER}为总经理。",
    "今天的会议没有什么新的内容。",
    "这条路修好以后，大家出行方便多了。",
    "{PER}的新书讲的是{LOC}的故事。",
    "{LOC}警方向{ORG}表示感谢。",
    "{PER}在{LOC}开了一家小饭馆，生意很好。",
    "听说{ORG}正在招人，你可以去问问{PER}。",
    "价格一天比一天高，买的人却越来越少。",
    "{ORG}派{PER}到{LOC}指导工作。",
    "决赛中，{ORG1}以二比一战胜了{ORG2}。",
]
NER_MAKERS: Makers = {"PER": person, "LOC": place, "ORG": organization}


def bio(sentence: Filled) -> str:
    tags = ["O"] * len(sentence.text)
    for _, label, start, end in sentence.slots:
        tags[start:end] = [f"B-{label}"] + [f"I-{label}"] * (end - start - 1)
    return "".join(f"{character}\t{tag}\n" for character, tag in zip(sentence.text, tags, strict=True)) + "\n"


# -- Fine-grained entities in CLUENER's format -------------------------------------------------------------------------

FINE_TEMPLATES = [
    "{name}在{address}买了一套房子。",
    "{company}的{position}{name}昨天辞职了。",
    "《{book}》是{name}写的第一本小说。",
    "昨晚我们去看了电影《{movie}》，散场已经十点。",
    "网络游戏《{game}》今天开始测试。",
    "{government}宣布，{scene}下月起免费开放。",
    "{organization}的{position}在赛后接受了采访。",
    "到{scene}旅游的人比去年多了一倍。",
    "{company}开发的《{game}》拿到了大奖。",
    "{government}的{position}{name}来到{address}看望居民。",
    "导演{name}正在{address}拍摄《{movie}》。",
    "《{movie}》改编自同名小说，由{company}出品。",
    "{organization}将在{scene}举行演出。",
    "我在{address}等了你半个小时。",
    "{position}{name}推荐大家读一读《{book}》。",
    "{company}与{government}在{address}签约。",
    "玩了三年《{game}》，我还是打不过{name}。",
    "{organization}邀请{name}担任{position}。",
    "天气预报说明天有雨，我们改天再去吧。",
]
FINE_MAKERS: Makers = {
    "name": person,
    "address": place,
    "company": firm,
    "organization": body,
    "government": office,
    "position": words("总经理 主教练 院长 董事长 队长 市长 教授 主编 工程师 副主任 记者 会计"),
    "scene": words("望月山 红叶谷 长风岛 白云寺 古塔公园 玉带湖 千佛洞 天鹅湾 大草原公园 石林"),
    "book": words("山里的灯 北方来信 木船 三月的田野 数学之路 城门 夜航 旧河道 画家的早晨 麦子熟了"),
    "movie": words("雨中的车站 最后一班船 大风起 回家的路 雪夜 十六岁 长街 黎明之前 小镇往事 远山"),
    "game": words("星海争霸战 龙之城 飞车小队 三国群英会 方块农场 勇者大陆 丛林冒险 天空守卫 球王 剑客行"),
}


def cluener(sentence: Filled) -> str:
    label: dict[str, dict[str, list[list[int]]]] = {}
    for _, kind, start, end in sentence.slots:
        label.setdefault(kind, {}).setdefault(sentence.text[start:end], []).append([start, end - 1])
    return json.dumps({"text": sentence.text, "label": label}, ensure_ascii=False) + "\n"


# -- Entities and relations in doccano's format ------------------------------------------------------------------------

RELATION_TEMPLATES: list[tuple[str, list[tuple[str, str, str]]]] = [
    ("{人物}{时间}加入{组织机构}。", [("人物", "任职于", "组织机构")]),
    ("{人物}出生于{地点}，现在是{组织机构}的员工。", [("人物", "出生地", "地点"), ("人物", "任职于", "组织机构")]),
    ("{时间}，{组织机构}在{地点}成立。", []),
    ("{人物1}和{人物2}都在{组织机构}上班。", [("人物1", "任职于", "组织机构"), ("人物2", "任职于", "组织机构")]),
    ("{人物1}是{地点}人，{人物2}不是。", [("人物1", "出生地", "地点")]),
    ("{组织机构}的{人物}{时间}去了{地点}。", [("人物", "任职于", "组织机构")]),
    ("生在{地点}的{人物}{时间}回到了家乡。", [("人物", "出生地", "地点")]),
    ("{人物}给{地点}的学校捐了书。", []),
    (
        "{时间}，来自{地点}的{人物}当上了{组织机构}的主任。",
        [("人物", "出生地", "地点"), ("人物", "任职于", "组织机构")],
    ),
    ("{组织机构1}请{组织机构2}的{人物}来讲课。", [("人物", "任职于", "组织机构2")]),
    ("{时间}的会议改在{地点}举行。", []),
    ("{人物1}离开{地点}那年，{人物2}刚进{组织机构}。", [("人物2", "任职于", "组织机构")]),
]
RELATION_MAKERS: Makers = {"人物": person, "组织机构": organization, "地点": place, "时间": date}


def doccano(count: int, random: Random) -> Iterator[str]:
    """Lines of an export: ids count through the whole file."""
    entity_id = relation_id = 0
    rows = sentences([template for template, _ in RELATION_TEMPLATES], RELATION_MAKERS, random)
    for number in range(1, count + 1):
        template, sentence = next(rows)
        ids, entities, relations = {}, [], []
        for slot, label, start, end in sentence.slots:
            entity_id += 1
            ids[slot] = entity_id
            entities.append({"id": entity_id, "start_offset": start, "end_offset": end, "label": label})
        for head, label, tail in RELATION_TEMPLATES[template][1]:
            relation_id += 1
            relations.append({"id": relation_id, "from_id": ids[head], "to_id": ids[tail], "type": label})
        row = {"id": number, "text": sentence.text, "entities": entities, "relations": relations}
        yield json.dumps(row, ensure_ascii=False) + "\n"


# -- News titles in TNEWS's format -------------------------------------------------------------------------------------

TOPICS: dict[tuple[str, str], tuple[list[str], Makers]] = {
    ("103", "news_sports"): (
        [
            "{队}{比分}战胜{对手}，{人}打进关键一球",
            "{人}伤愈复出，{队}主场迎战{对手}",
            "联赛第{数}轮：{队}客场不敌{对手}",
            "{人}宣布退役，曾为{队}效力{数}年",
            "如何评价{队}新来的主教练{人}？",
            "{项目}世界杯：{人}夺得金牌",
        ],
        {
            "队": words("东海队 雄鹰队 山城队 猛虎队 蓝星队"),
            "对手": words("铁马队 海狮队 白鹤队 冰城队 火箭队"),
            "比分": words("三比零 二比一 四比二 五比三"),
            "项目": words("乒乓球 短道速滑 跳水 举重 体操"),
        },
    ),
    ("104", "news_finance"): (
        [
            "{行}下调存款利率，{钱}该怎么放？",
            "{物}价格连涨{数}周，专家这样看",
            "{行}发布年报：净利润增长百分之{数}",
            "买基金亏了{数}成，要不要继续持有？",
            "{物}期货大跌，投资者损失惨重",
            "手里有{钱}，存银行还是买国债？",
        ],
        {
            "行": words("新光银行 华泰银行 百川保险 恒通证券 四方信托"),
            "物": words("黄金 原油 铜 大豆 白银"),
            "钱": words("十万元 五十万元 一百万元 闲钱"),
        },
    ),
    ("108", "news_edu"): (
        [
            "高考{科}怎么提分？老师给出{数}条建议",
            "{校}公布今年录取分数线",
            "孩子{科}成绩下降，家长应该怎么办？",
            "{校}新增{数}个专业，今年开始招生",
            "考研{科}复习计划，建议收藏",
            "小学生每天作业写到{数}点，老师怎么说？",
        ],
        {
            "科": words("数学 英语 语文 物理 化学 政治"),
            "校": words("东平大学 青河师范学院 云安一中 临江大学 北山理工学院"),
        },
    ),
    ("109", "news_tech"): (
        [
            "{牌}发布新款{机}，电池能用{数}天",
            "{机}卡顿怎么办？{数}个设置让它变快",
            "{牌}{机}拆解：芯片换成了自己的",
            "人工智能能写代码了，程序员会失业吗？",
            "{机}系统升级之后有哪些新功能？",
            "{牌}工程师：下一代{机}的屏幕可以卷起来",
        ],
        {
            "牌": words("飞云 明日 星辰 天河 博远"),
            "机": words("手机 平板电脑 笔记本电脑 智能手表 路由器 耳机"),
        },
    ),
    ("112", "news_travel"): (
        [
            "{地}旅游攻略：{数}天怎么玩最省钱？",
            "自驾去{地}，这{数}个景点不能错过",
            "{地}的日出有多美？看了就不想走",
            "{季}最适合去的{数}个小镇，{地}排第一",
            "带父母去{地}，住哪家酒店方便？",
            "从{地}出发，坐船去看海",
        ],
        {"地": list(PLACES), "季": words("春天 夏天 秋天 冬天 国庆假期")},
    ),
}
COMMON: Makers = {"人": person, "数": words("二 三 四 五 六 七 八 九")}


def tnews(random: Random) -> Iterator[list[str]]:
    """For each topic titles without repetition."""
    for (label, name), (templates, makers) in TOPICS.items():
        titles = sentences(templates, COMMON | makers, random)
        rows = []
        for _ in range(40):
            _, title = next(titles)
            keywords = dict.fromkeys(title.text[start:end] for slot, _, start, end in title.slots if slot != "数")
            row = {"label": label, "label_desc": name, "sentence": title.text, "keywords": ",".join(keywords)}
            rows.append(json.dumps(row, ensure_ascii=False) + "\n")
        yield rows


# -- Film reviews in the format of SST-2 -------------------------------------------------------------------------------

FILM = words("film movie story comedy thriller drama documentary sequel romance adventure")
PART = words("acting script plot music ending editing dialogue pacing cast beginning")
GOOD = words("wonderful charming moving brilliant clever funny warm delightful gripping beautiful fresh touching")
BAD = words("dull boring awful clumsy tedious lifeless predictable messy shallow painful empty silly")
ADVERB = words("truly rather very quietly surprisingly often simply")
POSITIVE = [
    "a {adverb} {good} {film} with a {good1} {part} .",
    "the {part} is {good} and the {part1} never lets you down .",
    "i loved every minute of this {good} {film} .",
    "{good} , {good1} and worth seeing twice .",
    "easily the most {good} {film} of the year , thanks to its {part} .",
    "you leave the theater happy after such a {good} {film} .",
    "not a dull moment in this {adverb} {good} {film} .",
    "the {film} finds a {good} balance and the {part} is {adverb} {good1} .",
]
NEGATIVE = [
    "a {adverb} {bad} {film} with a {bad1} {part} .",
    "the {part} is {bad} and the {part1} only makes it worse .",
    "i wanted to leave halfway through this {bad} {film} .",
    "{bad} , {bad1} and far too long .",
    "easily the most {bad} {film} of the year , ruined by its {part} .",
    "save your money and skip this {bad} {film} .",
    "there is nothing {good} in this {adverb} {bad} {film} .",
    "the {film} wastes a good idea , and the {part} is {adverb} {bad} .",
]
REVIEW_MAKERS: Makers = {"film": FILM, "part": PART, "good": GOOD, "bad": BAD, "adverb": ADVERB}


def sst2(random: Random) -> Iterator[list[str]]:
    """Positive reviews (1), then negative ones (0), without repetition."""
    for label, templates in (("1", POSITIVE), ("0", NEGATIVE)):
        reviews = sentences(templates, REVIEW_MAKERS, random)
        yield [f"{next(reviews)[1].text} \t{label}\n" for _ in range(100)]


# -- Long documents ----------------------------------------------------------------------------------------------------


def iflytek(random: Random) -> Iterator[list[str]]:
    """For each topic documents of a few of its titles among sentences that say nothing of it."""
    topics = list(TOPICS.items())[:4]
    plain = [template for template in NER_TEMPLATES if template.endswith("。")]
    for (label, name), (templates, makers) in topics:
        titles, others = sentences(templates, COMMON | makers, random), sentences(plain, NER_MAKERS, random)
        rows = []
        for _ in range(40):
            parts = [f"{next(titles)[1].text}。".replace("？。", "？") for _ in range(random.randint(1, 3))]
            parts += [next(others)[1].text for _ in range(random.randint(1, 4))]
            random.shuffle(parts)
            row = {"label": label, "label_des": name, "sentence": "".join(parts)}
            rows.append(json.dumps(row, ensure_ascii=False) + "\n")
        yield rows


def imdb(random: Random) -> Iterator[list[str]]:
    """Positive reviews of several sentences (1), then negative ones (0), with HTML's line breaks."""
    for label, templates in (1, POSITIVE), (0, NEGATIVE):
        lines = sentences(templates, REVIEW_MAKERS, random)
        rows = []
        for _ in range(60):
            text = "<br /><br />".join(next(lines)[1].text for _ in range(random.randint(2, 6)))
            rows.append(json.dumps({"text": text, "label": label}) + "\n")
        yield rows


FACTS = [
    ("{PER}出生在{LOC}。", "{PER}出生在哪里？", "LOC"),
    ("{PER}在{ORG}工作。", "{PER}在哪里工作？", "ORG"),
    ("{ORG}的负责人是{PER}。", "{ORG}的负责人是谁？", "PER"),
    ("{ORG}在{LOC}召开了年会。", "{ORG}在哪里召开了年会？", "LOC"),
]
"""Sentences with a question that each answers, and the slot that is its answer."""


def cmrc(count: int, random: Random) -> str:
    """Texts of several facts with a question about each of two, in the format of SQuAD."""
    facts = sentences([sentence for sentence, _, _ in FACTS], NER_MAKERS, random)
    data = []
    for number in range(count):
        context, asked = "", []
        for _ in range(random.randint(4, 8)):
            template, fact = next(facts)
            _, question, answer = FACTS[template]
            words_of = {slot: fact.text[start:end] for slot, _, start, end in fact.slots}
            place = len(context) + next(start for slot, _, start, _ in fact.slots if slot == answer)
            text = SLOT.sub(lambda match, found=words_of: found[match[1]], question)  # type: ignore[misc]
            asked.append((text, {"text": words_of[answer], "answer_start": place}))
            context += fact.text
        questions = [
            {"id": f"SAMPLE_{number}_{index}", "question": question, "answers": [answer]}
            for index, (question, answer) in enumerate(random.sample(asked, 2))
        ]
        data.append({"id": f"SAMPLE_{number}", "title": "", "paragraphs": [{"context": context, "qas": questions}]})
    return json.dumps({"version": "sample", "data": data}, ensure_ascii=False, indent=0) + "\n"


# -- files -------------------------------------------------------------------------------------------------------------


def write(path: Path, rows: Sequence[str], header: str = "") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(header + "".join(rows), encoding="utf-8", newline="\n")


def divide(classes: Iterable[list[str]], random: Random) -> tuple[list[str], list[str]]:
    """A training and a development part with the same share of every class, three to one."""
    parts: tuple[list[str], list[str]] = [], []
    for rows in classes:
        parts[0].extend(rows[: len(rows) * 3 // 4])
        parts[1].extend(rows[len(rows) * 3 // 4 :])
    for part in parts:
        random.shuffle(part)
    return parts


def main() -> None:
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "zoo_cli" / "data" / "samples"
    ner = sentences(NER_TEMPLATES, NER_MAKERS, Random(1))
    rows = [bio(next(ner)[1]) for _ in range(160)]
    write(folder / "msra" / "train.txt", rows[:120])
    write(folder / "msra" / "dev.txt", rows[120:])
    fine = sentences(FINE_TEMPLATES, FINE_MAKERS, Random(2))
    rows = [cluener(next(fine)[1]) for _ in range(160)]
    write(folder / "cluener" / "train.json", rows[:120])
    write(folder / "cluener" / "dev.json", rows[120:])
    write(folder / "doccano" / "train.jsonl", list(doccano(60, Random(3))))
    train, dev = divide(tnews(Random(4)), Random(4))
    write(folder / "tnews" / "train.json", train)
    write(folder / "tnews" / "dev.json", dev)
    train, dev = divide(sst2(Random(5)), Random(5))
    write(folder / "sst2" / "train.tsv", train, header="sentence\tlabel\n")
    write(folder / "sst2" / "dev.tsv", dev, header="sentence\tlabel\n")
    for name, documents in ("iflytek", iflytek), ("imdb", imdb):
        train, dev = divide(documents(Random(6)), Random(6))
        write(folder / name / "train.json", train)
        write(folder / name / "dev.json", dev)
    write(folder / "cmrc2018" / "train.json", [cmrc(60, Random(7))])
    write(folder / "cmrc2018" / "dev.json", [cmrc(20, Random(8))])


if __name__ == "__main__":
    main()
