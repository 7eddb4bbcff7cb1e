"""Twelve servers broken on purpose, from easy to hard: what a user reports.

MUTANTS of tests/simulated/mutants.py says what is broken in each; it is not
said here. `do` are the commands that show it, `see` is what to look at then.
"""

import collections

Puzzle = collections.namedtuple("Puzzle", "mutant, report, do, see")

PUZZLES = [
    # ---------------------- easy: one client shows it ----------------------
    Puzzle("the whole buffer is sent", {
        "en": "I send hello, and more comes back than I sent.",
        "ko": "hello를 보냈는데 보낸 것보다 더 많이 돌아옵니다.",
    }, ["{server} 9190 -v", "{client} 9190 --message hello"], {
        "en": "The client compares every byte and says what is wrong. The "
              "server's lines say how many bytes it received and sent.",
        "ko": "클라이언트는 모든 바이트를 비교하고 무엇이 다른지 알려 줍니다. "
              "서버가 출력한 줄에서 받은 바이트 수와 보낸 바이트 수를 "
              "비교하십시오.",
    }),
    Puzzle("bytes are counted twice", {
        "en": "Every client got back exactly what it sent. But the server's "
              "last line says that it received more than it sent.",
        "ko": "모든 클라이언트가 보낸 것을 그대로 돌려받았습니다. 그런데 "
              "서버의 마지막 줄을 보면 받은 것이 보낸 것보다 많습니다.",
    }, ["{server} 9190", "{client} 9190 --message hello"], {
        "en": "Press Ctrl+C at the server, and compare received and sent in "
              "its last line.",
        "ko": "서버에서 Ctrl+C를 누르고, 마지막 줄의 received와 sent를 "
              "비교하십시오.",
    }),
    Puzzle("a client that has ended is not", {
        "en": "A client leaves, and from then on the server keeps a whole CPU "
              "busy. The connection never ends.",
        "ko": "클라이언트가 나간 뒤로 서버가 CPU 하나를 계속 100% 씁니다. "
              "연결은 끝나지 않습니다.",
    }, ["{server} 9190", "{client} 9190"], {
        "en": "Type a line, then Q, and look at the server in the Task "
              "Manager (or top). With -v it prints the same line again and "
              "again.",
        "ko": "한 줄을 보낸 다음 Q를 입력하고, 작업 관리자(또는 top)에서 "
              "서버를 보십시오. -v를 붙이면 서버가 같은 줄을 되풀이해서 "
              "출력합니다.",
    }),
    Puzzle("one too many", {
        "en": "I allow two clients at once, and the server serves three.",
        "ko": "동시에 클라이언트 둘까지만 허용했는데 서버가 셋을 받습니다.",
    }, ["{server} 9190 --max-connections 2 -v", "{client} 9190"], {
        "en": "Start the client in three windows. The third should be served "
              "only after another has left. live= in the server's lines says "
              "how many it serves.",
        "ko": "창 세 개에서 클라이언트를 실행하십시오. 셋째는 다른 "
              "클라이언트가 나간 뒤에야 처리되어야 합니다. 서버가 출력한 줄의 "
              "live=는 처리 중인 연결의 수입니다.",
    }),
    Puzzle("a lock is not released", {
        "en": "The first client works. The second one connects and never gets "
              "an answer. After that even Ctrl+C does nothing.",
        "ko": "첫째 클라이언트는 잘 됩니다. 둘째는 접속은 되지만 응답이 오지 "
              "않습니다. 그 뒤로는 Ctrl+C도 듣지 않습니다.",
    }, ["{server} 9190 -v", "{client} 9190"], {
        "en": "Start the client in two windows and type a line in each. Press "
              "Ctrl+C at the server three times: the third ends it, three "
              "seconds after the second.",
        "ko": "창 두 개에서 클라이언트를 실행하고 각각 한 줄을 보내십시오. "
              "서버는 Ctrl+C를 세 번 눌러야 끝납니다. 셋째는 둘째보다 3초 뒤에 "
              "누르십시오.",
    }),

    # ------------- medium: some clients, or the right moment ---------------
    Puzzle("the answer ends at a NUL", {
        "en": "Short messages come back. Of a file a little is missing, and "
              "the client waits for it for ever.",
        "ko": "짧은 메시지는 잘 돌아옵니다. 그런데 파일을 보내면 조금 모자라고, "
              "클라이언트는 나머지를 끝없이 기다립니다.",
    }, ["{server} 9190", "{client} 9190 --load --connections 1 --messages 3 "
        "--size 20000"], {
        "en": "Try other sizes: from which on does it happen? How many bytes "
              "are missing? (received and sent in the server's last line)",
        "ko": "크기를 바꾸어 보십시오. 얼마부터 그런 일이 생깁니까? 몇 바이트가 "
              "모자랍니까? (서버의 마지막 줄에 있는 received와 sent)",
    }),
    Puzzle("a failed packet is ignored", {
        "en": "If a client is connected when I press Ctrl+C, the server does "
              "not end in time. At last it ends with an error.",
        "ko": "클라이언트가 접속한 채로 Ctrl+C를 누르면 서버가 제때 끝나지 "
              "않습니다. 한참 뒤에 오류를 내고 끝납니다.",
    }, ["{server} 9190 -v", "{client} 9190"], {
        "en": "Type a line, leave the client open, and press Ctrl+C at the "
              "server. A client that is killed shows more: is its connection "
              "ever closed?",
        "ko": "한 줄을 보내고 클라이언트를 켜 둔 채 서버에서 Ctrl+C를 "
              "누르십시오. 클라이언트를 강제로 종료해 보면 더 알 수 있습니다. "
              "그 연결은 닫힙니까?",
    }),
    Puzzle("a lost wake-up: set only at none", {
        "en": "I allow two clients at once. The third waits, as it should. "
              "Then one of the two leaves, and the third still waits, until "
              "the other one has left too.",
        "ko": "동시에 클라이언트 둘까지만 허용했습니다. 셋째가 기다리는 것은 "
              "맞습니다. 그런데 둘 가운데 하나가 나가도 셋째는 계속 기다리고, "
              "다른 하나까지 나가야 처리됩니다.",
    }, ["{server} 9190 --max-connections 2 -v", "{client} 9190"], {
        "en": "Start the client in three windows, type a line in the third, "
              "and end the first with Q.",
        "ko": "창 세 개에서 클라이언트를 실행하고, 셋째 창에서 한 줄을 보낸 "
              "다음, 첫째 클라이언트를 Q로 끝내십시오.",
    }),
    Puzzle("not closed", {
        "en": "Each client that has come and gone leaves something behind. "
              "After a busy day no new client is served.",
        "ko": "클라이언트가 다녀갈 때마다 무엇인가 남습니다. 하루 종일 바빴던 "
              "날에는 결국 새 클라이언트를 받지 못합니다.",
    }, ["{server} 9190", "{client} 9190 --load --connections 200 --messages "
        "1"], {
        "en": "Run the client several times, and watch the server's handles: "
              "the Task Manager has a column for them (on Linux: ls "
              "/proc/PID/fd of wineserver).",
        "ko": "클라이언트를 여러 번 실행하면서 서버의 핸들 수를 보십시오. 작업 "
              "관리자에 핸들 열이 있습니다(리눅스에서는 wineserver의 "
              "/proc/PID/fd를 봅니다).",
    }),

    # ---- hard: under load, or where the system does what it seldom does ---
    Puzzle("sends are cancelled with receives", {
        "en": "I press Ctrl+C while a slow client still gets its echo. The "
              "server ends in time, but the client does not get back all that "
              "the server had received.",
        "ko": "느린 클라이언트가 아직 에코를 받고 있을 때 Ctrl+C를 누릅니다. "
              "서버는 제때 끝나지만, 클라이언트는 서버가 받은 데이터를 다 "
              "돌려받지 못합니다.",
    }, ["{server} 9190 -v"], {
        "en": "It takes a client that sends much and reads late. The check "
              "has one (test_a_slow_reader_gets_the_rest_while_draining), and "
              "the simulated Windows tells of one in story.txt. Follow a "
              "WRITE from its post to its packet.",
        "ko": "많이 보내고 늦게 읽는 클라이언트가 있어야 보입니다. 확인 명령에 "
              "그런 클라이언트가 있고(test_a_slow_reader_gets_the_rest_while_"
              "draining), 시뮬레이션한 윈도우도 story.txt에 그런 경우를 적어 "
              "줍니다. WRITE를 요청한 때부터 완료 패킷이 올 때까지 따라가 "
              "보십시오.",
    }),
    Puzzle("received while it sends", {
        "en": "Short messages work. A client that sends much gets bytes back "
              "that are not in their place, and at the end the server counts "
              "fewer than no clients.",
        "ko": "짧은 메시지는 잘 돌아옵니다. 많이 보내는 클라이언트에게는 "
              "바이트가 뒤섞여 돌아오고, 끝날 때 서버가 세는 연결의 수는 "
              "0보다 작습니다.",
    }, ["{server} 9190", "{client} 9190 --load --connections 20 --messages "
        "200 --size 100000"], {
        "en": "It is not the same in each run. Ask who owns a buffer, and "
              "from when until when.",
        "ko": "실행할 때마다 결과가 다릅니다. 버퍼를 누가 언제부터 언제까지 "
              "소유하는지 따져 보십시오.",
    }),
    Puzzle("ticks that wrap around", {
        "en": "With an idle timeout the server runs well for seven weeks. "
              "Then for a moment it ends clients that are not idle.",
        "ko": "유휴 시간 제한을 두고 실행한 서버가 일곱 주 동안 잘 돕니다. 그 "
              "뒤 한때 쉬고 있지도 않은 클라이언트의 연결을 끊습니다.",
    }, ["{server} 9190 --idle-timeout 60"], {
        "en": "Nobody wants to wait for that. On the simulated Windows the "
              "computer may have run for 49 days already: the check tells "
              "such a life.",
        "ko": "일곱 주를 기다릴 수는 없습니다. 시뮬레이션한 윈도우에서는 컴퓨터가 "
              "이미 49일 동안 켜져 있었던 것으로 할 수 있습니다. 확인 명령이 "
              "그런 경우를 이야기로 보여 줍니다.",
    }),
]

EASY, MEDIUM = 5, 9  # up to these numbers
GRADES = {
    "easy": {"en": "easy", "ko": "쉬움"},
    "medium": {"en": "medium", "ko": "보통"},
    "hard": {"en": "hard", "ko": "어려움"},
}


def grade(number):
    return GRADES["easy" if number <= EASY else
                  "medium" if number <= MEDIUM else "hard"]


# What a server must do, and the tests that ask it: a file of tests/server, and
# which in it. They are the shorter ones.
BEHAVIOURS = [
    ({"en": "every byte comes back, in order, also after a half-close",
      "ko": "모든 바이트가 순서대로 돌아옵니다(반쪽 종료 뒤에도)"},
     "test_echo", "plain and (any_size or every_byte or short_message or "
     "pipelined or half_close or end_of_file or mix)"),
    ({"en": "what the server prints is right, and the totals add up",
      "ko": "서버의 출력이 맞고, 합계도 맞습니다"},
     "test_output", "life_of_one or totals"),
    ({"en": "limits are kept, and who waits is served when a place is free",
      "ko": "제한을 지키고, 기다리던 클라이언트는 자리가 나면 처리됩니다"},
     "test_limits", "next_one or in_turn or gives_its_place or "
     "idle_connection"),
    ({"en": "clients that reset or vanish leave nothing behind",
      "ko": "연결을 끊거나 사라진 클라이언트가 아무것도 남기지 않습니다"},
     "test_hostile_clients", "plain and (a_reset_ends or leaves_no_handle or "
     "killed)"),
    ({"en": "Ctrl+C ends the server in order and in time, and loses nothing",
      "ko": "Ctrl+C를 누르면 서버가 제때 차례대로 끝나고 잃는 것이 없습니다"},
     "test_stopping", "plain and (test_idle or get_back or slow_reader or "
     "sends_on or second_ctrl)"),
]
CHANGED = {"en": "the broken file has been changed",
           "ko": "망가진 파일이 처음과 달라졌습니다"}
LIVES_ARE_RIGHT = {
    "en": "{n} lives on the simulated Windows are as they should be",
    "ko": "시뮬레이션한 윈도우에서 {n}번 실행해도 잘못되는 일이 없습니다"}
LIVES = 3000  # on the simulated Windows: most mistakes need a hundred
