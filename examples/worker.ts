// A worker: answers each submitted task by streaming its text back, word by word.
//
// Needs @connectrpc/connect-node and the modules that are generated from proto/
// into gen/, as the README says:
//
//     node worker.js localhost:50051

import { randomUUID } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import { createClient } from "@connectrpc/connect";
import { createGrpcTransport } from "@connectrpc/connect-node";
import { MessageService } from "./gen/throughline/v1/message_service_pb.js";
import { TaskStatus } from "./gen/throughline/v1/task_pb.js";
import { RenewalStatus, TaskService, type ClaimTaskResponse } from "./gen/throughline/v1/task_service_pb.js";

const LEASE_S = 15;
const WAIT_S = 30;
const workerId = `worker-${randomUUID()}`;

const transport = createGrpcTransport({ baseUrl: `http://${process.argv[2]}` });
const tasks = createClient(TaskService, transport);
const messages = createClient(MessageService, transport);

type Names = { messageId: string; taskId: string; attempt: number };

/** Renews the lease until the work is done, and tells it to stop. */
async function beat(names: Names, done: AbortSignal, cancelled: AbortController): Promise<void> {
  while (!done.aborted) {
    await sleep((LEASE_S * 1000) / 3, undefined, { signal: done }).catch(() => {});
    if (done.aborted) return;
    try {
      const { results } = await tasks.renewTask({ workerId, renewals: [names] });
      if (results[0]?.status !== RenewalStatus.OK) return cancelled.abort();
    } catch (error) {
      // The next one may come through before the lease is lost.
      console.error(error);
    }
  }
}

/** The work itself. True where it came to its end. */
async function answer(claimed: ClaimTaskResponse, names: Names, cancelled: AbortSignal): Promise<boolean> {
  const words = String(claimed.task?.params?.["task_description"]).split(/\s+/);
  for (const [number, word] of words.entries()) {
    const requestId = `${names.taskId}-${names.attempt}-${number}`;
    const text = { messageId: names.messageId, delta: `${word} `, lease: claimed.lease, requestId };
    const { result } = await messages.appendText(text);
    if (result?.cancelRequested || cancelled.aborted) return false;
    await sleep(50);
  }
  return true;
}

async function work(claimed: ClaimTaskResponse, names: Names): Promise<void> {
  const done = new AbortController();
  const cancelled = new AbortController();
  void beat(names, done.signal, cancelled);
  try {
    const isWhole = await answer(claimed, names, cancelled.signal);
    await tasks.updateTask({ ...names, status: isWhole ? TaskStatus.COMPLETED : TaskStatus.CANCELLED });
  } catch (error) {
    const failed = { status: TaskStatus.FAILED, error: String(error).slice(0, 1000), retryable: true };
    await tasks.updateTask({ ...names, ...failed });
  } finally {
    done.abort();
  }
}

for (;;) {
  const [lease, wait] = [LEASE_S, WAIT_S].map((s) => ({ seconds: BigInt(s) }));
  try {
    const claimed = await tasks.claimTask({ taskTypes: ["simple"], workerId, lease, wait });
    const { task } = claimed;
    if (task) await work(claimed, { messageId: task.messageId, taskId: task.taskId, attempt: task.attempt });
  } catch (error) {
    console.error(error);
    await sleep(1000);
  }
}
