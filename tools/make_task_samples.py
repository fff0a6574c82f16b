"""Make the sample data sets of pairs, choices, triples and commands, as `make_sample_data.py` makes the others.

    python tools/make_task_samples.py [FOLDER]

FOLDER defaults to `zoo_cli/data/samples`. Everything is put together from word lists and templates that were written
for this project; the medical and legal sentences show a format and teach no medicine and no law. The same files come
out each time.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from random import Random
from typing import Any

from make_sample_data import (
    BAD,
    COMMON,
    GOOD,
    PART,
    PLACES,
    ROOT,
    TOPICS,
    divide,
    firm,
    person,
    sentences,
    words,
    write,
)

Parts = tuple[list[str], list[str]]


def line(row: Any) -> str:
    return json.dumps(row, ensure_ascii=False) + "\n"


def distinct(make: Callable[[Random], str], count: int, random: Random) -> list[str]:
    """Different rows."""
    rows: dict[str, None] = {}
    while len(rows) < count:
        rows[make(random)] = None
    return list(rows)


def whole(parts: Parts, before: str = "", after: str = "") -> Parts:
    """Parts of rows as parts of one JSON list each."""
    train, dev = ([f"{before}[\n" + ",\n".join(row.rstrip() for row in part) + f"\n]{after}\n"] for part in parts)
    return train, dev


# -- Pairs -------------------------------------------------------------------------------------------------------------

ASKED = [
    ["{卡}怎么还款", "{卡}的钱如何还", "在哪里给{卡}还款", "我想还{卡}的钱"],
    ["{卡}怎么提高额度", "{卡}额度太低如何增加", "我的{卡}能多给点额度吗", "想把{卡}的额度调高"],
    ["{卡}怎么关闭", "{卡}不想用了如何取消", "请帮我把{卡}关掉", "{卡}在哪里取消"],
]
"""Questions that ask the same, a list for each thing asked."""
UNRELATED = ["客服电话是多少", "你们几点上班", "{卡}安全吗", "忘了密码怎么办", "今天天气真好", "哪里可以买基金"]
"""Questions that ask something else than all of those."""
CARDS = words("信用卡 白条 花卡 月付 金卡 借条 备用金 分期卡")


def afqmc(random: Random) -> Iterator[list[str]]:
    """Pairs of questions that ask the same ("1"), and pairs that do not ("0")."""
    for label in ("1", "0"):

        def pair(random: Random, label: str = label) -> str:
            first, second = random.sample(random.choice(ASKED), 2)
            second = second if label == "1" else random.choice(UNRELATED)
            card = random.choice(CARDS)
            return line({"sentence1": first.format(卡=card), "sentence2": second.format(卡=card), "label": label})

        yield distinct(pair, 90, random)


CLAIMS = [
    (
        "{人}昨天在{地}买了一本书。",
        {"entailment": "{人}买了书。", "contradiction": "{人}从来没有买过书。", "neutral": "{人}也许很喜欢看书。"},
    ),
    (
        "{人}正在{司}上班。",
        {"entailment": "{人}有工作。", "contradiction": "{人}没有工作。", "neutral": "{人}也许想换一份工作。"},
    ),
    (
        "{地}下了一天的大雨。",
        {"entailment": "{地}下雨了。", "contradiction": "{地}没有下雨。", "neutral": "{地}明天也许还会下雨。"},
    ),
    (
        "{人}和朋友坐火车去了{地}。",
        {"entailment": "{人}去了{地}。", "contradiction": "{人}没有去{地}。", "neutral": "{人}也许会在{地}住几天。"},
    ),
]
ENGLISH_CLAIMS = [
    (
        "the {part} of this {film} is {good} .",
        {
            "entailment": "the {part} of the {film} is good .",
            "contradiction": "the {film} has no {part} .",
            "neutral": "the {part} may win a prize next year .",
        },
    ),
    (
        "we saw a {good} {film} last night .",
        {
            "entailment": "we saw a {film} .",
            "contradiction": "we never saw a {film} .",
            "neutral": "we may see the {film} again next week .",
        },
    ),
    (
        "she likes the {part} and the music of the {film} .",
        {
            "entailment": "she likes the {part} .",
            "contradiction": "she likes nothing in the {film} .",
            "neutral": "she may like the {part} of other films .",
        },
    ),
]
FILMS = words("film movie story comedy drama")


def claim(claims: Sequence[tuple[str, dict[str, str]]], label: str, random: Random) -> tuple[str, str]:
    premise, hypotheses = random.choice(claims)
    named = {"人": person(random), "地": random.choice(PLACES), "司": firm(random)}
    named |= {"part": random.choice(PART), "good": random.choice(GOOD), "film": random.choice(FILMS)}
    hypothesis = hypotheses.get(label) or random.choice(list(hypotheses.values()))
    return premise.format(**named), hypothesis.format(**named)


def ocnli(random: Random) -> Iterator[list[str]]:
    """Pairs of each label, and a few on which annotators did not agree ("-")."""
    for label, count in (("entailment", 56), ("contradiction", 56), ("neutral", 56), ("-", 8)):

        def pair(random: Random, label: str = label) -> str:
            one, other = claim(CLAIMS, label, random)
            return line({"sentence1": one, "sentence2": other, "label": label})

        yield distinct(pair, count, random)


def xnli(claims: Sequence[tuple[str, dict[str, str]]]) -> Callable[[Random], Iterator[list[str]]]:
    """Pairs of each label in one language."""

    def make(random: Random) -> Iterator[list[str]]:
        for label in ("entailment", "contradiction", "neutral"):

            def pair(random: Random, label: str = label) -> str:
                return "\t".join([*claim(claims, label, random), label]) + "\n"

            yield distinct(pair, 40, random)

    return make


def rte(random: Random) -> Iterator[list[str]]:
    """Pairs in which the first sentence entails the second, and others."""
    for label, kinds in (("entailment", ["entailment"]), ("not_entailment", ["contradiction", "neutral"])):

        def pair(random: Random, label: str = label, kinds: Sequence[str] = tuple(kinds)) -> str:
            return "\t".join([*claim(ENGLISH_CLAIMS, random.choice(kinds), random), label]) + "\n"

        yield [f"{number}\t{row}" for number, row in enumerate(distinct(pair, 90, random))]


def stsb(random: Random) -> Iterator[list[str]]:
    """Pairs that mean the same (4 to 5), of the same thing (2 to 3), and of nothing in common (0 to 1)."""
    for lowest, template in (
        (4, "this {part} is {good} ."),
        (2, "nobody says that the {part} is {good} ."),
        (0, "it may rain in the city tomorrow ."),
    ):

        def pair(random: Random, template: str = template) -> str:
            part, (first, second) = random.choice(PART), random.sample(random.choice((GOOD, BAD)), 2)
            return f"the {part} is {first} .\t{template.format(part=part, good=second)}"

        source = "main-captions\tsample\t2024\t0000\tnone\tnone"
        scores = [lowest + random.choice((0.0, 0.25, 0.5, 0.75, 1.0)) for _ in range(60)]
        rows = zip(distinct(pair, 60, random), scores, strict=True)
        yield [f"{number}\t{source}\t{row}\t{score:.3f}\n" for number, (row, score) in enumerate(rows)]


CSL_FIELDS = [
    (words("水稻 土壤 种子 肥料 灌溉"), "通过三年的田间试验，分析了{甲}与{乙}对产量的影响。"),
    (words("芯片 电路 信号 天线 传感器"), "设计了一种新的方案，用{甲}代替{乙}，降低了功耗。"),
    (words("课堂 教材 学生 考试 作业"), "调查了十所中学，讨论了{甲}和{乙}之间的关系。"),
]


FAKE = words("问题 方法 结果 影响 研究 关系 作者")
"""Words of abstracts that are no keywords."""


def csl(random: Random) -> Iterator[list[str]]:
    """Abstracts with keywords that are theirs ("1"), or of which one is none ("0")."""
    for label in ("1", "0"):

        def paper(random: Random, label: str = label) -> str:
            own, abstract = random.choice(CSL_FIELDS)
            one, two = random.sample(own, 2)
            keywords = [one, two if label == "1" else random.choice(FAKE)]
            return line({"abst": abstract.format(甲=one, 乙=two), "keyword": keywords, "label": label})

        yield distinct(paper, 48, random)


WHO = [("{甲}把书还给了{乙}，因为他已经看完了。", "true"), ("{甲}问{乙}借钱，因为他手里没有钱了。", "true")]
WHO += [("{甲}安慰{乙}，因为他考试没有考好。", "false"), ("{甲}感谢{乙}，因为他帮了大忙。", "false")]


def cluewsc(random: Random) -> Iterator[list[str]]:
    """Sentences whose pronoun means the first person ("true"), or the second ("false")."""
    for label in ("true", "false"):

        def sentence(random: Random, label: str = label) -> str:
            template = random.choice([text for text, first in WHO if first == label])
            one, other = person(random), person(random)
            text = template.format(甲=one, 乙=other)
            target = {"span1_text": one, "span1_index": 0, "span2_text": "他", "span2_index": text.index("因为") + 2}
            return line({"target": target, "label": label, "text": text})

        yield distinct(sentence, 60, random)


# -- Choices -----------------------------------------------------------------------------------------------------------

KINDS = {
    "他们要去哪里？": words("公园 学校 商店 医院 车站 电影院 图书馆 机场"),
    "他们几点见面？": words("三点 四点半 六点 七点半 九点 十点半"),
    "女的想吃什么？": words("面条 包子 苹果 饺子 米饭 西瓜 蛋糕"),
    "男的是做什么的？": words("老师 医生 司机 记者 警察 工人 律师"),
}
TALK = {
    "他们要去哪里？": ["男：我们先去{词}吧。", "女：明天一起去{词}，好吗？", "男：从这里到{词}要走多久？"],
    "他们几点见面？": ["女：那就{词}在门口见。", "男：我{词}以前到不了。", "女：{词}，别迟到。"],
    "女的想吃什么？": ["女：我想吃{词}了。", "男：给你买点{词}？", "女：今天有{词}，真好。"],
    "男的是做什么的？": ["女：听说你当了{词}。", "男：做{词}真累。", "女：你爸爸也是{词}吗？"],
}


def c3(random: Random) -> str:
    """A short talk with one or two questions."""
    talk, questions = [], []
    for question in random.sample(list(KINDS), 2):
        answer = random.choice(KINDS[question])
        talk.append(random.choice(TALK[question]).format(词=answer))
        choices = [
            answer,
            *(random.choice(KINDS[other]) for other in random.sample(sorted(set(KINDS) - {question}), 3)),
        ]
        questions.append({"question": question, "choice": random.sample(choices, 4), "answer": answer})
    return line([talk, questions[: random.randint(1, 2)]])


IDIOMS = {
    "画蛇添足": ["画已经够好了，再加几笔就是{空}。", "话说到这里就行，再说便是{空}。"],
    "一举两得": ["骑车上班又省钱又健身，真是{空}。", "边走边背单词，可以说{空}。"],
    "七上八下": ["等成绩的时候，他心里{空}。", "医生还没有出来，大家心里{空}。"],
    "四通八达": ["这里的公路{空}，去哪里都方便。", "地铁修好以后，城里{空}。"],
    "雪中送炭": ["最困难的时候他借给我钱，真是{空}。", "灾区的人说，这批药是{空}。"],
    "五颜六色": ["花园里开满了{空}的花。", "孩子们放着{空}的气球。"],
}
ADDED = ["{人}说：“{句}”", "{句}{人}也这样想。", "在{地}，{句}", "{句}这是{人}告诉我的。"]


def chid(random: Random) -> str:
    """A text with one blank, in FewCLUE's form."""
    idiom = random.choice(list(IDIOMS))
    text = random.choice(IDIOMS[idiom]).format(空="#idiom#")
    content = random.choice(ADDED).format(人=person(random), 地=random.choice(PLACES), 句=text)
    candidates = random.sample(list(IDIOMS), len(IDIOMS))
    return line({"candidates": candidates, "content": content, "answer": candidates.index(idiom)})


ANSWERS = {
    "{人}出生在{地}。": ("{人}出生在哪里？", "地"),
    "{人}在{司}当{职}。": ("{人}在哪家单位？", "司"),
    "{司}的负责人是{人}。": ("{司}的负责人是谁？", "人"),
    "会议定在{日}开。": ("会议定在什么时候？", "日"),
    "这本书卖{价}。": ("这本书多少钱？", "价"),
}
"""Sentences with a question that each answers, and what of them is the answer."""


def squad(random: Random) -> str:
    """A paragraph of several such sentences with a question about each of two, in the form of CMRC 2018."""
    context, asked = "", []
    for template in random.sample(list(ANSWERS), 3):
        named = {"人": person(random), "地": random.choice(PLACES), "司": firm(random)}
        named |= {"职": random.choice(words("会计 司机 工程师 经理"))}
        named |= {"日": random.choice(words("周一 周三 周五 下月初 月底")), "价": f"{random.randint(11, 99)}元"}
        question, answer = ANSWERS[template]
        fact = template.format(**named)
        start = len(context) + fact.index(named[answer])
        asked.append((question.format(**named), {"text": named[answer], "answer_start": start}))
        context += fact
    rows = [{"question": question, "answers": [answer]} for question, answer in asked[:2]]
    return line({"paragraphs": [{"context": context, "qas": rows}]})


CASES = {
    "借款": ["{人}向{人2}借款{数}万元，到期没有归还。", "{人}借给{人2}{数}万元，约定月利息一分，后来没有收到本金。"],
    "离婚": ["{人}与{人2}结婚{数}年，感情破裂，要求离婚。", "{人}起诉{人2}离婚，双方争夺孩子的抚养权。"],
    "事故": ["{人}开车撞伤{人2}，医疗费{数}万元。", "{人2}骑车时被{人}的货车撞倒，住院{数}天。"],
}


def cail_scm(random: Random) -> str:
    """A case, and two others of which one is of its kind."""

    def case(kind: str, index: int) -> str:
        return CASES[kind][index].format(人=person(random), 人2=person(random), 数=random.randint(2, 9))

    own, other = random.sample(list(CASES), 2)
    index, label = random.randint(0, 1), random.choice("BC")
    like, unlike = case(own, 1 - index), case(other, random.randint(0, 1))
    row = {"A": case(own, index), "B": like if label == "B" else unlike, "C": unlike if label == "B" else like}
    return line({**row, "label": label})


TOPIC_NAMES = {"news_sports": "体育", "news_finance": "财经", "news_edu": "教育", "news_tech": "科技"}


def utc(random: Random) -> Iterator[list[str]]:
    """For each topic titles with the names of all topics, or of some, to choose from."""
    for (_, topic), (templates, makers) in TOPICS.items():
        if topic not in TOPIC_NAMES:
            continue
        titles, rows = sentences(templates, COMMON | makers, random), []
        for _ in range(40):
            others = [name for name in TOPIC_NAMES.values() if name != TOPIC_NAMES[topic]]
            choices = [TOPIC_NAMES[topic], *random.sample(others, random.randint(1, 3))]
            random.shuffle(choices)
            label = choices.index(TOPIC_NAMES[topic])
            rows.append(
                line(
                    {
                        "text_a": next(titles)[1].text,
                        "text_b": "",
                        "question": "",
                        "choices": choices,
                        "labels": [label],
                    }
                )
            )
        yield rows


# -- Medicine ----------------------------------------------------------------------------------------------------------

DISEASES = words("肺炎 胃炎 肝炎 肠炎 感冒 糖尿病 高血压 心脏病 贫血 水痘")
ORGANS = words("肺部 胃部 肝脏 心脏 腹部 胸部 头部 右腿 左手 背部")
SIGNS = words("疼痛 肿胀 出血 发热 不适")
DRUGS = words("阿司匹林 青霉素 胰岛素 维生素 止咳药 消炎药")
MEDICAL = [
    ("患者{月}前出现{sym}，用{dru}后好转。", ("sym", "dru")),
    ("{dis}的病人常有{sym}。", ("dis", "sym")),
    ("检查发现{bod}正常，没有{sym}。", ("bod", "sym")),
    ("{dru}可以治疗{dis}。", ("dru", "dis")),
    ("家里没有人得过{dis}或{dis2}。", ("dis", "dis2")),
    ("请按时复查，注意休息。", ()),
    ("{bod}手术以后不要吃{dru}。", ("bod", "dru")),
]


def cmeee(random: Random) -> str:
    """A sentence with entities; those of type sym enclose a part of the body."""
    template, slots = random.choice(MEDICAL)
    organ, sign = random.choice(ORGANS), random.choice(SIGNS)
    disease, other = random.sample(DISEASES, 2)
    named = {"sym": organ + sign, "dru": random.choice(DRUGS), "dis": disease, "dis2": other}
    named["bod"] = random.choice([name for name in ORGANS if name != organ])
    text = template.format(**named, 月=random.choice(("三天", "一个月", "半年", "两周")))
    entities = []
    for slot in slots:
        start = text.index(named[slot])
        found = [(start, named[slot], slot[:3])] + ([(start, organ, "bod")] if slot == "sym" else [])
        entities += [
            {"start_idx": first, "end_idx": first + len(name) - 1, "type": kind, "entity": name}
            for first, name, kind in found
        ]
    return line({"text": text, "entities": entities})


TRIPLES = [
    ("{病}的主要症状是{症}，应到{科}就诊。", [("病", "临床表现", "症"), ("病", "就诊科室", "科")]),
    ("{症}是{病}的常见表现。", [("病", "临床表现", "症")]),
    ("治疗{病}可以用{药}。", [("病", "药物治疗", "药")]),
    ("得了{病}请看{科}。", [("病", "就诊科室", "科")]),
    ("{药}对{病}有效，但不能治{病2}。", [("病", "药物治疗", "药")]),
    ("多喝水、多休息对身体有好处。", []),
]
TRIPLE_TYPES = {"病": "疾病", "症": "症状", "药": "药物", "科": "其他"}


def cmeie(random: Random) -> str:
    """A sentence with its triples."""
    template, triples = random.choice(TRIPLES)
    disease, other = random.sample(DISEASES, 2)
    named = {
        "病": disease,
        "病2": other,
        "症": random.choice(ORGANS) + random.choice(SIGNS),
        "药": random.choice(DRUGS),
    }
    named["科"] = random.choice(("内科", "外科", "儿科", "急诊科"))
    found = [
        {
            "predicate": predicate,
            "subject": named[subject],
            "subject_type": TRIPLE_TYPES[subject],
            "object": {"@value": named[value]},
            "object_type": {"@value": TRIPLE_TYPES[value]},
        }
        for subject, predicate, value in triples
    ]
    reminder = random.choice(("", "医生说：", "请注意，", "一般来说，", "书上写着："))
    return line({"text": reminder + template.format(**named), "spo_list": found})


ASPECTS = {
    "房间": ("干净 宽敞 安静", "太小 太旧 很吵"),
    "早餐": ("丰盛 好吃", "单调 难吃"),
    "服务": ("热情 周到 及时", "冷淡 太慢"),
    "位置": ("方便 很好找", "偏远 难找"),
    "价格": ("实惠 公道", "太贵 偏高"),
    "味道": ("正宗 鲜美", "太咸 一般"),
    "停车场": ("很大 免费", "拥挤 收费"),
    "前台": ("耐心 亲切", "粗心 没礼貌"),
}
"""What guests judge, and words for good and for bad."""
REVIEWS = (
    "{甲}{子}。",
    "{甲}{子}，{乙}{丑}。",
    "上次来的时候{甲}{子}，这次{乙}也{丑}。",
    "朋友推荐的，{甲}{子}，就是{乙}{丑}了一点。",
    "出差住了三天，觉得{甲}{子}，下次还会看看别家。",
    "昨天下午到的，今天早上走的。",
    "家人说{乙}{丑}，不过{甲}{子}。",
)


def opinions(random: Random) -> str:
    """A review with what it judges, how, and whether that is good, as doccano exports it."""
    template = random.choice(REVIEWS)
    aspects = random.sample(list(ASPECTS), 2)
    entities: list[dict[str, Any]] = []
    relations: list[dict[str, Any]] = []
    text, rest = "", template
    for aspect_mark, word_mark, aspect in sorted(
        zip("甲乙", "子丑", aspects, strict=True), key=lambda each: template.find(each[0])
    ):
        if aspect_mark not in template:
            continue
        sentiment = random.randrange(2)
        word = random.choice(words(ASPECTS[aspect][sentiment]))
        places = []
        for mark, value in ((aspect_mark, aspect), (word_mark, word)):
            before, _, rest = rest.partition(f"{{{mark}}}")
            text += before
            places.append((len(text), len(text) + len(value)))
            text += value
        head, tail = len(entities), len(entities) + 1
        for number, place, label in (
            (head, places[0], f"评价维度##{('正向', '负向')[sentiment]}"),
            (tail, places[1], "观点词"),
        ):
            entities.append({"id": number, "start_offset": place[0], "end_offset": place[1], "label": label})
        relations.append({"id": len(relations), "from_id": head, "to_id": tail, "type": "观点词"})
    return line({"text": text + rest, "entities": entities, "relations": relations})


QUERIES = {
    "病情诊断": ["{位}{征}是什么病", "{位}总是{征}，是{病}吗", "{征}和{位}不舒服可能是{病}吗"],
    "治疗方案": ["{病}怎么治疗", "{病}能吃{药}吗", "{位}{征}怎么办"],
    "病因分析": ["为什么会得{病}", "{病}是什么原因引起的", "{位}{征}的原因有哪些"],
    "医疗费用": ["治{病}要花多少钱", "{位}手术费用是多少", "{药}一盒多少钱", "用{药}治{病}贵吗"],
}


def kuake_qic(random: Random) -> Iterator[list[str]]:
    """For each intent queries to a search engine."""
    for label, templates in QUERIES.items():

        def query(random: Random, label: str = label, templates: Sequence[str] = tuple(templates)) -> str:
            named = {"位": random.choice(ORGANS), "征": random.choice(SIGNS), "病": random.choice(DISEASES)}
            text = random.choice(templates).format(**named, 药=random.choice(DRUGS))
            return line({"query": text, "label": label})

        yield distinct(query, 40, random)


# -- Commands ----------------------------------------------------------------------------------------------------------

SONGS = words("月亮船 大海 春天里 小城故事 晚风 家乡")
APPS = words("日历 地图 相机 备忘录 天气")
COMMANDS = [
    ("music", "PLAY", ["播放{人}的{歌}", "我想听{歌}", "来一首{人}唱的{歌}"]),
    ("map", "ROUTE", ["导航去{地}", "从{地}到{地2}怎么走", "去{地}要多久"]),
    ("telephone", "DIAL", ["给{人}打电话", "呼叫{人}", "帮我拨打{人}的手机"]),
    ("app", "LAUNCH", ["打开{用}", "启动{用}", "帮我开一下{用}"]),
    ("weather", "QUERY", ["{地}{日}下雨吗", "{日}{地}多少度", "查一下{地}{日}的天气情况"]),
]
SLOT_NAMES = {"人": "person", "歌": "song", "地": "place", "地2": "end", "用": "name", "日": "date"}


def smp2019(random: Random) -> str:
    """A command with its intent and the places of its slots."""
    domain, intent, templates = random.choice(COMMANDS)
    template = random.choice(templates)
    place, end = random.sample(PLACES, 2)
    named = {"人": person(random), "歌": random.choice(SONGS), "用": random.choice(APPS), "地": place, "地2": end}
    named["日"] = random.choice(words("今天 明天 后天 周末 下周一"))
    slots = {SLOT_NAMES[key]: value for key, value in named.items() if f"{{{key}}}" in template}
    return line({"text": template.format(**named), "domain": domain, "intent": intent, "slots": slots})


# -- files -------------------------------------------------------------------------------------------------------------

SETS: dict[str, tuple[str, Callable[[Random], Iterator[list[str]]], str]] = {
    "afqmc": ("json", afqmc, ""),
    "ocnli": ("json", ocnli, ""),
    "csl": ("json", csl, ""),
    "cluewsc2020": ("json", cluewsc, ""),
    "rte": ("tsv", rte, "index\tsentence1\tsentence2\tlabel\n"),
    "stsb": (
        "tsv",
        stsb,
        "index\tgenre\tfilename\tyear\told_index\tsource1\tsource2\tsentence1\tsentence2\tscore\n",
    ),
    "utc": ("txt", utc, ""),
    "kuake_qic": ("json", kuake_qic, ""),
}
"""Sets whose rows are of several classes: end of the file names, rows of each class, first line."""

ROWS: dict[str, tuple[str, Callable[[Random], str], int]] = {
    "c3": ("json", c3, 120),
    "chid": ("json", chid, 160),
    "squad": ("json", squad, 120),
    "cail_scm": ("json", cail_scm, 120),
    "cmeee": ("json", cmeee, 120),
    "cmeie": ("json", cmeie, 120),
    "smp2019": ("json", smp2019, 160),
    "opinions": ("json", opinions, 160),
}
"""Sets of rows alike: end of the file names, what makes one, how many."""


def main() -> None:
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "zoo_cli" / "data" / "samples"
    made: list[tuple[str, Parts, str]] = []
    for name, (end, rows_of, header) in SETS.items():
        parts = divide(rows_of(Random(name)), Random(name))
        made.append((f"{name}/{{}}.{end}", whole(parts) if name == "kuake_qic" else parts, header))
    for name, (end, make, count) in ROWS.items():
        parts = divide([distinct(make, count, Random(name))], Random(name))
        if name == "squad":
            parts = whole(parts, before='{"version": "sample", "data": ', after="}")
        elif name in ("c3", "cmeee", "smp2019"):
            parts = whole(parts)
        made.append((f"{name}/{{}}.{end}", parts, ""))
    for language, claims in (("en", ENGLISH_CLAIMS), ("zh", CLAIMS)):
        parts = divide(xnli(claims)(Random(language)), Random(language))
        made.append((f"xnli/{{}}.{language}.tsv", parts, "premise\thypo\tlabel\n"))
    for name, parts, header in made:
        for part, rows in zip(("train", "dev"), parts, strict=True):
            write(folder / name.format(part), rows, header)


if __name__ == "__main__":
    main()
