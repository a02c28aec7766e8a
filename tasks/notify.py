"""What somebody must know at night: faults that luigi tells nobody, and a POST for each to a webhook.

Mails are luigi's own ([email] and [smtp]). A POST that fails is one warning, never a fault of the night.
"""

from __future__ import annotations

import json
import logging
import os
import socket
import threading
import urllib.error
import urllib.request
from collections.abc import Callable

import luigi
from luigi.worker import TaskProcess

from ooni_pipeline.errors import PipelineError
from tasks import config

logger = logging.getLogger("luigi-interface")

#: How long (seconds) a receiver may let us wait.
PATIENCE = 10.0


def listen(told: Callable[[BaseException], str]) -> None:
    """Notice what goes wrong with any task; ``told`` says what may be shown of an exception."""

    def failed(task: luigi.Task, error: BaseException) -> None:
        post(task, told(error))

    def unknown(task: luigi.Task) -> None:
        post(task, "nobody can tell whether it is done: see the log")

    def ended(task: luigi.Task, how: str) -> None:
        post(task, _tell(task, f"{how.rstrip('.')}; the next run goes on from what is proved"))

    for event, handler in (
        (luigi.Event.FAILURE, failed),
        (luigi.Event.BROKEN_TASK, failed),
        (luigi.Event.DEPENDENCY_MISSING, unknown),
        (luigi.Event.TIMEOUT, ended),
        (luigi.Event.PROCESS_FAILURE, ended),
    ):
        luigi.Task.event_handler(event)(handler)


def _tell(task: luigi.Task, fault: str) -> str:
    """Log what luigi itself only logs at a level that cron's lines leave out."""
    logger.error("%s: %s", _named(task), fault)
    return fault


def _end(process: TaskProcess) -> None:
    """End a task that ran into [worker] timeout. Luigi asks it to end and waits, for ever where it is
    stopped or stuck; nothing of ours needs to be asked: files appear whole, transactions roll back, and the
    processes of its pool die with it."""
    process.kill()


TaskProcess.terminate = _end  # type: ignore[method-assign]


def post(task: luigi.Task, fault: str) -> None:
    """Tell the webhook, where there is one, of a task that failed. Never raises."""
    bucket = str(getattr(task, "bucket_date", ""))
    send({"task": task.task_family, "bucket": bucket, "fault": fault}, f"{_named(task)}: {fault}")


def _named(task: luigi.Task) -> str:
    bucket = getattr(task, "bucket_date", "")
    return f"{task.task_family} of bucket {bucket}" if bucket else str(task.task_family)


def send(facts: dict[str, object], text: str) -> None:
    """POST facts, and a text as chats take it, to [notify] webhook. Never raises, waits PATIENCE at most."""
    try:
        url = config.webhook()
    except PipelineError as error:
        logger.warning("nobody is notified: %s", error)
        return
    if not url:
        return
    body = json.dumps({"text": f"{socket.gethostname()}: {text}", "host": socket.gethostname(), **facts})
    request = urllib.request.Request(  # noqa: S310  # config.webhook() takes http and https alone
        url, body.encode(), {"Content-Type": "application/json", "User-Agent": "ooni-pipeline"}
    )
    outcome = ["no answer"]
    # In a thread, because no limit of urllib's covers a slow look-up of a name or an answer that trickles.
    sending = threading.Thread(target=_send, args=(request, outcome), daemon=True)
    sending.start()
    sending.join(PATIENCE)
    if outcome[0]:
        logger.warning("[notify] webhook took no notice of a fault: %s", outcome[0])


def _send(request: urllib.request.Request, outcome: list[str]) -> None:
    """Send it; ``outcome`` becomes empty, or says why not, without the URL, which is a secret."""
    try:
        with urllib.request.urlopen(request, timeout=PATIENCE):  # noqa: S310
            outcome[0] = ""
    except urllib.error.HTTPError as error:
        outcome[0] = f"it answers {error.code}"
    except urllib.error.URLError as error:
        reason = error.reason
        number = reason.errno if isinstance(reason, OSError) else None
        outcome[0] = os.strerror(number) if number and number > 0 else type(reason).__name__
    except Exception as error:
        outcome[0] = type(error).__name__
