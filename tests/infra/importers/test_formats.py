"""Every format on a small file with the oddities of the real one."""

from __future__ import annotations

import json

import pytest

from infra.importers.formats import formats
from infra.importers.tally import Tally


def reasons(tally: Tally) -> dict[str, int]:
    return {reason: drop.count for reason, drop in tally.drops.items()}


def brief(events: list[dict]) -> list[tuple]:
    return [(e["timestamp"], e["user_id"], e["item_id"], e["event_type"]) for e in events]


def test_the_formats_are_those_of_the_documentation() -> None:
    assert list(formats()) == [
        *("completejourney", "deskdrop", "diginetica", "lastfm-1k", "movielens", "online-retail", "otto", "rees46"),
        *("retailrocket", "taobao", "yoochoose", "csv", "jsonl", "parquet"),
    ]
    shorts = [format.short for format in formats().values()]
    assert len(set(shorts)) == len(shorts)


@pytest.mark.parametrize(
    "content",
    [
        "196\t242\t3\t881250949\n186\t302\tthree\t891717742\n22\t377\t1\t878887116\n\n244\t51\t2\n",
        "196::242::3::881250949\n186::302::three::891717742\n22::377::1::878887116\n\n244::51::2\n",
        "userId,movieId,rating,timestamp\r\n196,242,3,881250949\r\n186,302,three,891717742\r\n22,377,1,878887116\r\n\r\n244,51,2\r\n",
        '\ufeff"userId","movieId","rating","timestamp"\n"196","242","3","881250949"\n186,302,three,891717742\n22,377,1,878887116\n\n244,51,2\n',
    ],
    ids=["u.data", "ratings.dat", "ratings.csv", "quoted with BOM"],
)
def test_movielens(imported, content: str) -> None:
    events, tally = imported("movielens", content)
    assert events == [
        {
            "timestamp": 878887116000,
            "user_id": "22",
            "item_id": "377",
            "event_type": "rating",
            "event_id": "ml-3",
            "value": 1.0,
            "v": 1,
        },
        {
            "timestamp": 881250949000,
            "user_id": "196",
            "item_id": "242",
            "event_type": "rating",
            "event_id": "ml-1",
            "value": 3.0,
            "v": 1,
        },
    ]
    assert (tally.read, tally.kept, tally.blank) == (4, 2, 1)
    assert reasons(tally) == {"bad_number": 1, "wrong_column_count": 1}
    line = 2 + (not content[0].isdigit())
    assert tally.drops["bad_number"].first.endswith(f"source0.csv:{line}")


def test_retailrocket(imported) -> None:
    events, tally = imported(
        "retailrocket",
        "timestamp,visitorid,event,itemid,transactionid\n"
        "1433221332117,257597,view,355908,\n1433221332118,1,addtocart,2,\n1433221332119,1,transaction,2,77\n"
        "1433221332120,1,scroll,2,\n1433221332121,,view,2,\n99999999999999,1,view,2,\n-1,1,view,2,\n",
    )
    assert brief(events) == [
        (1433221332117, "257597", "355908", "view"),
        (1433221332118, "1", "2", "cart"),
        (1433221332119, "1", "2", "purchase"),
    ]
    assert reasons(tally) == {"unknown_event_type": 1, "empty_user_id": 1, "timestamp_out_of_range": 2}


def test_yoochoose_clicks_and_buys_are_one_data_set(imported) -> None:
    clicks = "1,2014-04-07T10:51:09.277Z,214536502,0\n1,2014-04-07T10:54:09.868Z,214536500,S\n1,yesterday,7,0\n"
    buys = "1,2014-04-07T10:52:00.001Z,214536502,12462,2\n1,2014-04-07T10:52:00.001Z,214536502,free,1\n"
    events, tally = imported("yoochoose", clicks, buys, suffix=".dat")
    assert brief(events) == [
        (1396867869277, "1", "214536502", "click"),
        (1396867920001, "1", "214536502", "purchase"),
        (1396868049868, "1", "214536500", "click"),
    ]
    assert [e["event_id"] for e in events] == ["yc-1", "yc-4", "yc-2"]
    assert events[1]["value"] == 24924.0
    assert {e["session_id"] for e in events} == {"1"}
    assert reasons(tally) == {"bad_time": 1, "bad_number": 1}
    assert tally.drops["bad_number"].first.endswith("source1.dat:2")


def test_diginetica_time_is_a_day_and_an_offset(imported) -> None:
    events, tally = imported(
        "diginetica",
        "sessionId;userId;itemId;timeframe;eventdate\n"
        "1;NA;81766;526309;2016-05-09\n1;5;31331;1031018;2016-05-09\n2;5;7;x;2016-05-09\n2;5;7;1;NA\n",
    )
    assert brief(events) == [
        (1462752000000 + 526309, "session-1", "81766", "view"),
        (1462752000000 + 1031018, "5", "31331", "view"),
    ]
    assert [e["session_id"] for e in events] == ["1", "1"]
    assert reasons(tally) == {"bad_number": 1, "bad_time": 1}


def test_taobao_has_no_header_and_stray_times(imported) -> None:
    events, tally = imported(
        "taobao",
        "1,2268318,2520377,pv,1511544070\n1,2333346,2520771,fav,1511561733\n1,2,3,cart,1511572885\n1,2,3,buy,1511572886\n"
        "1,2,3,pv,-2134949234\n1,2,3,pv,0\n1,2,3,pv,99999999999\n1,2,3,pv\n1,2,3,look,1511572886\n",
    )
    assert [e["event_type"] for e in events] == ["view", "like", "cart", "purchase"]
    assert events[0]["timestamp"] == 1511544070000
    assert reasons(tally) == {"timestamp_out_of_range": 3, "wrong_column_count": 1, "unknown_event_type": 1}


def test_otto_has_a_session_a_line(imported) -> None:
    def session(number: object, *events: object) -> str:
        return json.dumps({"session": number, "events": list(events)}) + "\n"

    def event(aid: object, ts: object, kind: object = "clicks") -> dict:
        return {"aid": aid, "ts": ts, "type": kind}

    events, tally = imported(
        "otto",
        session(7, event(1, 1661724000278), event(2, 1661724000279, "carts"), event(3, 1661724000280, "orders"))
        + session(8, event(1, 1661724000100), event(None, 1661724000281), event(1, "soon"), "no event")
        + "{broken\n[1]\n\n"
        + session(9)
        + session(True, event(1, 1661724000278))
        + session(9, event(1, 1661724000278, ["clicks"])),
        suffix=".jsonl",
    )
    assert brief(events) == [
        (1661724000100, "8", "1", "click"),
        (1661724000278, "7", "1", "click"),
        (1661724000279, "7", "2", "cart"),
        (1661724000280, "7", "3", "purchase"),
    ]
    assert [e["event_id"] for e in events] == ["ot-4", "ot-1", "ot-2", "ot-3"]
    assert reasons(tally) == {
        "empty_item_id": 1,
        "bad_time": 1,
        "not_an_object": 2,
        "not_json": 1,
        "no_events": 1,
        "wrong_type": 1,
        "unknown_event_type": 1,
    }
    assert (tally.read, tally.blank) == (12, 1)
    assert tally.drops["not_json"].first.endswith(":3")


def test_rees46(imported) -> None:
    head = "event_time,event_type,product_id,category_id,category_code,brand,price,user_id,user_session\n"
    events, tally = imported(
        "rees46",
        head + "2019-10-01 00:00:00 UTC,view,44600062,21,,shiseido,35.79,541312140,72d76fde\n"
        "2019-10-01 00:00:01 UTC,remove_from_cart,5,21,,,,1,\n"
        "2019-10-01 00:00:01 UTC,purchase,5,21,,,nan,1,\n2019-13-01 00:00:01 UTC,cart,5,21,,,1,1,\n",
    )
    assert brief(events) == [
        (1569888000000, "541312140", "44600062", "view"),
        (1569888001000, "1", "5", "remove_from_cart"),
    ]
    assert (events[0]["value"], events[0]["session_id"]) == (35.79, "72d76fde")
    assert "value" not in events[1]
    assert "session_id" not in events[1]
    assert reasons(tally) == {"value_not_finite": 1, "bad_time": 1}


def test_deskdrop_has_commas_and_line_breaks_in_quotes(imported) -> None:
    head = "timestamp,eventType,contentId,personId,sessionId,userAgent,userRegion,userCountry\n"
    agent = '"Mozilla/5.0 (X11; Linux, ""odd"")\nsecond line, SP"'
    events, tally = imported(
        "deskdrop",
        head + f"1465413032,VIEW,-349,-884,126,{agent},SP,BR\n1465413033,CONTENT VIEWED,-349,-884,126,,,\n"
        "1465413034,COMMENT CREATED,-349,-884,,,,\n1465413035,CONTENT REMOVED,-349,-884,1,,,\n"
        "1465413036,WAVE,-1,-8,1,,,\n",
    )
    assert brief(events) == [
        (1465413032000, "-884", "-349", "view"),
        (1465413033000, "-884", "-349", "view"),
        (1465413034000, "-884", "-349", "comment"),
    ]
    assert reasons(tally) == {"content_removed": 1, "unknown_event_type": 1}
    assert tally.drops["content_removed"].first.endswith(":6")


RETAIL = "InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID,Country\n"


def test_online_retail_cancellations_are_returns(imported) -> None:
    content = (
        RETAIL + '536365,85123A,"HEART, ""WHITE""",6,12/1/2010 8:26,2.55,17850,United Kingdom\n'
        "C536379,D,Discount,-1,12/1/2010 9:41,27.5,14527.0,United Kingdom\n"
        "536414,22139,,56,12/1/2010 11:52,0,,United Kingdom\n"
        "536415,22139,CAF\xc9,1,2010-12-01 11:53:00,1.25,12345,France\n"
        "536416,22139,x,1,13/12/2010 11:53,1.25,12345,France\n"
    )
    events, tally = imported("online-retail", content.encode("latin-1"))
    assert brief(events) == [
        (1291191960000, "17850", "85123A", "purchase"),
        (1291196460000, "14527", "D", "return"),
        (1291204380000, "12345", "22139", "purchase"),
    ]
    assert [e["value"] for e in events] == [15.3, -27.5, 1.25]
    assert [e["session_id"] for e in events] == ["536365", "C536379", "536415"]
    assert reasons(tally) == {"empty_user_id": 1, "bad_time": 1}
    assert "1  return" in tally.report("x")


def test_online_retail_with_the_day_first(imported) -> None:
    events, _ = imported("online-retail", RETAIL + "1,2,x,1,13-12-2010 08:26,2,3,UK\n", time_format="%d-%m-%Y %H:%M")
    assert events[0]["timestamp"] == 1292228760000


def test_online_retail_two(imported) -> None:
    head = "Invoice,StockCode,Description,Quantity,InvoiceDate,Price,Customer ID,Country\n"
    events, _ = imported("online-retail", head + "489434,85048,X,12,2009-12-01 07:45:00,6.95,13085.0,UK\n")
    assert brief(events) == [(1259653500000, "13085", "85048", "purchase")]


LASTFM = (
    'user_000001\t2009-05-04T23:08:57Z\tart-1\tDeep "12" Dish\ttrack-1\t"Say Quotes\n'
    "user_000001\t2009-05-04T13:54:10Z\t\t坂本龍一\t\tComposition 0919\r\n"
    "user_000001\t2009-05-04T13:54:11Z\t\t坂本龍一\t\t\n"
    "user_000001\tnever\t\tx\t\ty\nuser_000001\t2009-05-04T13:54:10Z\t\tx\n"
)


def test_lastfm_tracks(imported) -> None:
    events, tally = imported("lastfm-1k", LASTFM, suffix=".tsv")
    assert brief(events) == [
        (1241445250000, "user_000001", "坂本龍一 - Composition 0919", "view"),
        (1241478537000, "user_000001", "track-1", "view"),
    ]
    assert reasons(tally) == {"empty_item_id": 1, "bad_time": 1, "wrong_column_count": 1}


def test_lastfm_artists(imported) -> None:
    events, _ = imported("lastfm-1k", LASTFM, suffix=".tsv", item="artist", event_type="listen")
    assert [(e["item_id"], e["event_type"]) for e in events] == [
        ("坂本龍一", "listen"),
        ("坂本龍一", "listen"),
        ("art-1", "listen"),
    ]
