"""Make the sample data of the generating tasks, which `--tiny` runs, tutorials and tests use.

    python tools/make_generation_samples.py [FOLDER]

FOLDER defaults to `zoo_cli/data/samples`. Everything is put together from the templates and word lists below, which
were written for this project: people, places, films and products are invented, and nothing is copied from a corpus. The
files have the formats of the corpora after whose recipes they are named. The same files come out each time.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from random import Random
from typing import Any

ROOT = Path(__file__).resolve().parent.parent


def words(text: str) -> list[str]:
    return text.split()


PLACES = words("青河市 云安市 白石县 松林镇 新港市 石桥村 西岭县 平川市 清水镇 丰谷县")
BUILDINGS = words("图书馆 体育馆 医院 车站 博物馆 小学 公园 大桥")
NAMES = words("王芳 李明 张建国 刘晓梅 陈海燕 杨志强 赵文博 周雨桐")
FILMS = words("长路 红叶谷 远山 海边的灯 星湖 小镇故事")
ENGLISH_NAMES = words("Anna Ben Clara David Emma Frank")
THINGS = words("lamp book map key letter clock")


def news(random: Random) -> dict[str, str]:
    place, building, name = random.choice(PLACES), random.choice(BUILDINGS), random.choice(NAMES)
    date = f"{random.randint(1, 12)}月{random.randint(1, 28)}日"
    content, summary = random.choice(
        [
            (
                f"本报讯，{date}，{place}的新{building}正式建成，{name}等人参加了活动，市民都很高兴。",
                f"{place}新{building}建成",
            ),
            (
                f"记者{date}从{place}了解到，因为下雨，{building}从今天起关门，何时开门还不知道。",
                f"{place}{building}因雨关门",
            ),
            (
                f"{name}昨天说，{place}今年要在{date}以前为{building}找到一百名工人。",
                f"{place}{building}要招一百名工人",
            ),
        ]
    )
    return {"content": content, "summary": summary}


def question(random: Random) -> dict[str, str]:
    place, building, name = random.choice(PLACES), random.choice(BUILDINGS), random.choice(NAMES)
    year = f"{random.randint(1950, 2020)}年"
    asked_year, asked_name = f"{place}的{building}是哪一年建成的？", f"{place}{building}的负责人是谁？"
    answer, asked = random.choice([(year, asked_year), (name, asked_name)])
    return {"context": f"{place}的{building}建成于{year}，负责人是{name}。", "answer": answer, "question": asked}


def advertisement(random: Random) -> dict[str, str]:
    kind = random.choice(words("裙 上衣 裤"))
    color = random.choice(words("红色 绿色 黑色 白色 蓝色"))
    style = random.choice(words("简约 运动 复古 清新"))
    material = random.choice(words("棉 麻 羊毛 牛仔布"))
    summary = f"这款{color}的{kind}选用{material}面料，{style}的风格，日常穿着舒适大方。"
    return {"content": f"类型#{kind}*材质#{material}*颜色#{color}*风格#{style}", "summary": summary}


def paper(random: Random) -> str:
    method = random.choice(words("遗传算法 神经网络 有限元法 统计分析 数值模拟"))
    thing = random.choice(words("桥梁 水稻 土壤 电机 地铁 卫星"))
    aim = random.choice(words("优化设计 质量评价 故障诊断 产量预测"))
    abstract = f"针对{thing}{aim}中的问题,采用{method}进行了研究,并与现有方法作了比较.结果表明,该方法精度高,计算快."
    return f"to title\t{abstract}\t基于{method}的{thing}{aim}研究"


def film_dialogue(random: Random) -> dict[str, Any]:
    film, director, year = random.choice(FILMS), random.choice(NAMES), f"{random.randint(1980, 2020)}年"

    def fact(name: str, value: str) -> list[dict[str, str]]:
        return [{"attrname": name, "attrvalue": value, "name": film}]

    return {
        "messages": [
            {"message": f"你看过《{film}》吗？"},
            {"attrs": fact("导演", director), "message": f"看过，是{director}导演的。"},
            {"message": "它是哪一年的电影？"},
            {"attrs": fact("上映时间", year), "message": f"它是{year}上映的。"},
        ],
        "name": film,
    }


def chat(random: Random) -> str:
    place, food = random.choice(PLACES), random.choice(words("面条 米饭 水果 鱼 牛肉"))
    turns = random.choice(
        [
            ("今天吃什么？", "我想吃面条，你呢？"),
            (f"我想去{place}玩", f"{place}很好玩，带上我吧"),
            (f"晚上吃{food}怎么样？", f"好啊，我最喜欢{food}了！"),
            ("早上好！", "早啊，今天天气真好"),
            ("晚安", "晚安，好梦！"),
            (f"你去过{place}吗？", f"去年去过{place}"),
        ]
    )
    return "\t".join(" ".join(turn) for turn in turns)


def persona_dialogue(random: Random) -> dict[str, Any]:
    name, place = random.choice(NAMES), random.choice(PLACES)
    turns = ["你叫什么名字？", f"我叫{name}。", "你住在哪里？", f"我住在{place}。"]
    return {"turns": turns, "persona": [f"我叫{name}", f"我住在{place}"], "roles": [1, 0, 1, 0]}


def article(random: Random) -> str:
    name = random.choice(ENGLISH_NAMES)
    town = random.choice(words("Stonebridge Whitehill Redport Greenford Oakmill"))
    year, count = random.randint(1800, 1999), random.randint(2, 90)
    return (
        f" = {town} Museum = \n \n"
        f" {town} Museum is a museum in {town} , which was founded by {name} in {year} . It shows"
        f" {count} @,@ 500 old maps and is open every day . \n \n"
        f" = = History = = \n \n"
        f" The house was built in {year} as a school . After a fire it was empty for {count} years , until {name} 's"
        f" family gave it to the town . \n \n"
    )


def last_word(random: Random) -> dict[str, str]:
    owner, guest = random.sample(ENGLISH_NAMES, 2)
    thing = random.choice(THINGS)
    text = f"{owner} had an old {thing} . {guest} came to see it , but it was gone . Nobody found the {thing}"
    return {"text": text}


def recipe_text(random: Random) -> str:
    thing, name, count = random.choice(THINGS), random.choice(ENGLISH_NAMES), random.randint(2, 9)
    return random.choice(
        [
            f"How to clean a {thing}.\nTake {count} drops of oil and a soft cloth. Then wait for {count} minutes.",
            f"Letter to {name}.\nDear {name}, I have found your {thing}. It was under the table. See you soon.",
        ]
    )


def poem(random: Random) -> str:
    season = random.choice("春夏秋冬")
    scene, view = random.choice(words("山 河 江 湖")), random.choice(words("明月 白云 清风 落日"))
    feeling = random.choice(words("思故乡 念故人 不知归 忘忧愁"))
    return f"{season}日{scene}边坐，{view}照我衣。{season}来{scene}水远，独酒{feeling}。"


def lines(rows: Iterable[Any]) -> str:
    return "".join((row if isinstance(row, str) else json.dumps(row, ensure_ascii=False)) + "\n" for row in rows)


def listed(rows: Iterable[Any]) -> str:
    return json.dumps(list(rows), ensure_ascii=False, indent=1) + "\n"


def joined(rows: Iterable[str]) -> str:
    return "".join(rows)


def paragraphs(rows: Iterable[str]) -> str:
    return "\n\n".join(rows) + "\n"


SETS: dict[str, tuple[Callable[[Random], Any], Callable[[Iterable[Any]], str], int, int]] = {
    "lcsts/{}.json": (news, lines, 200, 40),
    "dureader_qg/{}.json": (question, lines, 200, 40),
    "advertisegen/{}.json": (advertisement, lines, 120, 30),
    "csl_title/{}.tsv": (paper, lines, 100, 30),
    "kdconv/{}.json": (film_dialogue, listed, 60, 10),
    "lccc/{}.txt": (chat, lines, 160, 40),
    "dialogue/{}.jsonl": (persona_dialogue, lines, 80, 15),
    "wikitext/{}.tokens": (article, joined, 60, 8),
    "lambada/{}.jsonl": (last_word, lines, 300, 60),
    "texts/{}.txt": (recipe_text, paragraphs, 150, 25),
    "poetry/{}.txt": (poem, lines, 250, 40),
}
"""File name -> what makes a row, what writes rows, rows for training and development."""


def main(folder: Path) -> None:
    for name, (make, write, train, dev) in SETS.items():
        random = Random(name)
        for part, count in (("train", train), ("dev", dev)):
            path = folder / name.format(part)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(write([make(random) for _ in range(count)]), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "zoo_cli" / "data" / "samples")
