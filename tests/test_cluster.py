"""Engines on Ray Serve: two nodes on this machine, scripted engines, replicas and nodes that die.

One cluster for all tests, in their order; each leaves it whole. Ray is in an interpreter of its
own, `make .venv-cluster/installed`.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack

import httpx
import pytest
from ray_cluster import PYTHON, Cluster, Refused, pieces
from running import ROOT
from websockets.exceptions import ConnectionClosed

from cluster import rundir
from cluster.deployments import EngineArgs
from cluster.supervisor import check_port
from whisperfusion.engines import ENGINES
from whisperfusion.engines.scripted import read_tones, tone_speech

FILES = ("cluster.yaml", "cluster-gpu.yaml")
needs_ray = pytest.mark.skipif(
    not PYTHON.exists(), reason="Ray is not installed: make .venv-cluster/installed"
)
APPLICATION = """
- name: {kind}
  route_prefix: /{kind}
  import_path: cluster.deployments:build
  args: {{kind: {kind}, engine: scripted, models: [{models}], loaded: 2, at_once: 4}}
  deployments:
  - name: {kind}
    max_ongoing_requests: 16
    health_check_period_s: 1
    ray_actor_options: {{num_cpus: 0.5}}
    logging_config: {{log_level: DEBUG, enable_access_log: false}}
    {replicas}
"""
TWO = "num_replicas: 2\n    max_replicas_per_node: 1"
GROWING = (
    "autoscaling_config: {min_replicas: 2, max_replicas: 3, target_ongoing_requests: 1, "
    "metrics_interval_s: 0.5, look_back_period_s: 1, upscale_delay_s: 0.5, downscale_delay_s: 600}"
)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    config = tmp_path_factory.mktemp("cluster") / "cluster.yaml"
    config.write_text(
        # one HAProxy, for each counts connections for itself: so it is known who gets the next one
        "proxy_location: HeadOnly\napplications:"
        + APPLICATION.format(kind="asr", models="tones", replicas=TWO)
        + APPLICATION.format(kind="llm", models="echo", replicas=GROWING)
        + APPLICATION.format(kind="tts", models="high, low", replicas=TWO),
        encoding="utf-8",
    )
    running = Cluster(
        config,
        RAY_SERVE_REPLICA_AUTOSCALING_METRIC_PUSH_INTERVAL_S="0.5",
        RAY_SERVE_REQUEST_PATH_LOG_BUFFER_SIZE="1",  # each line of the log at once
    )
    try:
        yield running.wait_ready(2)
    finally:
        running.stop()


pytestmark = pytest.mark.sites


@needs_ray
def test_jobs_of_each_kind_stream(cluster: Cluster) -> None:
    assert cluster.reply("alpha beta") == "You said alpha beta. That is 2 words."
    with cluster.chat("forever") as messages:
        assert next(pieces(messages)).value  # before the answer has an end
    assert read_tones(cluster.speech("hello there"), 24_000) == "hello there"
    said = tone_speech("one two three")
    utterance = cluster.utterance()
    for at in range(0, len(said), 1600):
        utterance.audio(said[at : at + 1600])
    assert utterance.finish(len(said)) == "one two three"
    utterance.close()
    assert {one["node"] for one in cluster.replicas("tts")} == {"head", "node-1"}


@needs_ray
def test_closing_the_answer_ends_the_work(cluster: Cluster) -> None:
    with ExitStack() as calls:
        held = [_endless(cluster, calls) for _ in range(4)]
        cluster.until(lambda: cluster.running("llm"), "the calls to be seen", 60)
        del held
    # now the replicas have their turns
    cluster.until(lambda: not any(cluster.running("llm") for _ in range(8)), "their end", 60)


@needs_ray
def test_each_model_is_loaded_once(cluster: Cluster) -> None:
    for _ in range(8):
        for model in ("low", "high", ""):
            assert read_tones(cluster.speech("hi", model), 24_000) == "hi"
    with pytest.raises(Refused, match="allowed: high, low") as refused:
        cluster.speech("hi", "middle")
    assert refused.value.status == 404
    logs = list((cluster.folder / "ray" / "session_latest" / "logs" / "serve").glob("replica_tts*"))
    texts = [log.read_text(encoding="utf-8") for log in logs]
    for model in ("low", "high"):  # which replica is asked is HAProxy's choice
        loaded = [text.count(f"Successfully loaded model '{model}'") for text in texts]
        assert max(loaded) == 1, texts


@needs_ray
def test_more_requests_more_replicas(cluster: Cluster) -> None:
    assert len(cluster.replicas("llm")) == 2
    with ExitStack() as calls:
        held = [_endless(cluster, calls) for _ in range(6)]
        cluster.until(lambda: len(cluster.replicas("llm")) == 3, "a third replica", 60)
        del held


@needs_ray
def test_a_replica_that_dies_fails_what_it_did_and_nothing_else(cluster: Cluster) -> None:
    with ExitStack() as calls:
        answers = [_endless(cluster, calls) for _ in range(6)]  # two on each replica
        dead = cluster.replicas("llm")[0]["pid"]
        os.kill(dead, signal.SIGKILL)
        assert {_goes_on(answer) for answer in answers} == {False, True}
        for _ in range(20):
            assert cluster.reply("one") == "You said one. That is 1 word."
    cluster.until(
        lambda: (
            len(pids := [one["pid"] for one in cluster.replicas("llm")]) >= 2 and dead not in pids
        ),
        "another replica",
        60,
    )


def _endless(cluster: Cluster, calls: ExitStack) -> Iterator[object]:
    """An answer of which one piece was read. Keep it: without its reader it is closed."""
    answer = pieces(calls.enter_context(cluster.chat("forever")))
    next(answer)
    return answer


def _goes_on(answer: Iterator[object]) -> bool:
    try:
        for _ in range(300):  # three seconds, and far more than was on its way
            next(answer)
    except (httpx.HTTPError, AssertionError):
        return False
    return True


@needs_ray
def test_a_replica_that_dies_ends_its_utterances(cluster: Cluster) -> None:
    said = tone_speech("one two")
    spoken = [cluster.utterance() for _ in range(8)]  # enough that both replicas have some
    for one in spoken:
        one.audio(said)
    dead = cluster.replicas("asr")[0]["pid"]
    os.kill(dead, signal.SIGKILL)
    texts = set()
    for one in spoken:
        try:
            texts.add(one.finish(len(said)))
        except (ConnectionClosed, OSError):
            texts.add("")
        one.close()
    assert texts == {"", "one two"}
    again = cluster.utterance()
    again.audio(said)
    assert again.finish(len(said)) == "one two"
    cluster.until(
        lambda: (
            len(pids := [one["pid"] for one in cluster.replicas("asr")]) == 2 and dead not in pids
        ),
        "another replica",
        60,
    )


@needs_ray
def test_a_node_that_dies(cluster: Cluster) -> None:
    dead = cluster.state["nodes"]["node-1"]
    os.kill(dead, signal.SIGKILL)
    for number in range(30):
        assert _asked_again(cluster, f"number {number}").startswith("You said number")
    cluster.until(lambda: cluster.state["nodes"].get("node-1", dead) != dead, "a new node", 60)
    for kind in ("asr", "tts"):
        cluster.until(
            lambda kind=kind: {one["node"] for one in cluster.replicas(kind)} == {"head", "node-1"},
            f"{kind} on both nodes",
            90,
        )
    assert read_tones(cluster.speech("well"), 24_000) == "well"


def _asked_again(cluster: Cluster, text: str) -> str:
    """As a cell does where its request was at that node."""
    for _ in range(2):
        try:
            return cluster.reply(text)
        except httpx.HTTPError:
            continue
        except Refused as refused:  # of the proxy, whose replica has gone
            if refused.status < 500:
                raise
    return cluster.reply(text)


@needs_ray
def test_all_listens_on_this_machine_alone(cluster: Cluster) -> None:
    ours = {str(pid) for pid in rundir.processes_of(cluster.folder)}
    assert len(ours) > 10
    found = subprocess.run(["ss", "-ltnpH"], capture_output=True, text=True, check=True).stdout
    lines = [line for line in found.splitlines() if any(f"pid={pid}," in line for pid in ours)]
    outside = [line for line in lines if "127.0.0.1" not in line.split()[3]]
    # of Serve's own, from replica to replica; Ray gives it no address to choose, and asks there for
    # the cluster's token
    assert [line for line in outside if "ray::ServeRepli" not in line] == []
    assert lines != outside


@needs_ray
def test_a_second_one_is_refused(cluster: Cluster) -> None:
    command = [PYTHON, "-m", "cluster", "up", f"--port={cluster.port}"]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert ended.returncode == 1
    assert f"port {cluster.port} of 127.0.0.1 cannot be used" in ended.stderr
    assert cluster.reply("one") == "You said one. That is 1 word."


@needs_ray
def test_its_end_leaves_nothing_behind(cluster: Cluster) -> None:
    assert list(rundir.processes_of(cluster.folder))
    assert cluster.stop() == 0
    assert not cluster.folder.exists()
    assert list(rundir.processes_of(cluster.folder)) == []
    ended = subprocess.run(
        [PYTHON, "-m", "cluster", "status", f"--port={cluster.port}"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert ended.returncode == 1 and "no cluster of yours runs" in ended.stderr
    check_port(cluster.port)


@needs_ray
def test_files_fit_ray_serves_schema() -> None:
    code = (
        "import json, sys, yaml\n"
        "from ray.serve.schema import ServeDeploySchema\n"
        "read = [ServeDeploySchema.model_validate(yaml.safe_load(open(f))) for f in sys.argv[1:]]\n"
        "found = [[[a.name, a.route_prefix, a.args] for a in one.applications] for one in read]\n"
        "print(json.dumps(found))"
    )
    command = [PYTHON, "-c", code, *(ROOT / "cluster" / name for name in FILES)]
    said = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert said.returncode == 0, said.stderr
    for applications in json.loads(said.stdout):
        for name, prefix, args in applications:
            assert (prefix, args["kind"]) == (f"/{name}", name)
            assert EngineArgs.model_validate(args).engine in ENGINES[name]
        assert [name for name, _, _ in applications] == ["asr", "llm", "tts"]


def test_a_port_that_is_taken() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(rundir.ClusterError, match=f"port {port} of 127.0.0.1 cannot be used"):
            check_port(port)
