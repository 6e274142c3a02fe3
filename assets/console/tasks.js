// The task behind a block: how far it is, and how it ended.

import { h, icon, setText } from "./dom.js";
import { count, span, word } from "./format.js";

const ICONS = { CONTENT_TYPE_IMAGE: "image", CONTENT_TYPE_AUDIO: "sound", CONTENT_TYPE_VIDEO: "film" };

/** Why the task stopped whose result a block is, and what it took; in a line of its own. */
export class OutcomeView {
  node = h("p", { class: "task-outcome" });

  show({ message }, block) {
    const task = message.tasks?.find(({ blockId }) => blockId === block.blockId);
    setText(this.node, outcomeOf(task));
  }
}

/** Shows the task whose result a block stands for; nothing for a block without one. */
export class TaskView {
  #icon = h("span", { class: "task-icon" });
  #name = h("span", { class: "task-name" });
  #status = h("span", { class: "task-status" });
  #bar = h("progress", { max: 1, value: 0 });
  #note = h("p", { class: "task-note" });
  #params = h("p", { class: "task-params" });
  #outcome = new OutcomeView();
  node = h("div", { class: "task", hidden: true }, h("div", { class: "task-head" }, this.#icon, this.#name, this.#status), this.#params, this.#bar, this.#note, this.#outcome.node);

  show({ message }, block) {
    const task = message.tasks?.find(({ taskId }) => taskId === block.taskId);
    this.node.hidden = !task && !block.error && block.state !== "BLOCK_STATE_PLACEHOLDER";
    if (this.node.hidden) return;
    const status = word(task?.status ?? "TASK_STATUS_PENDING", "TASK_STATUS_");
    const progress = task?.progress ?? 0;
    this.node.dataset.status = status;
    if (!this.#icon.firstChild) this.#icon.append(icon(ICONS[block.contentType] ?? "file"));
    setText(this.#name, task?.taskType ?? word(block.contentType, "CONTENT_TYPE_"));
    setText(this.#status, statusOf(task, status, progress));
    setText(this.#params, paramsOf(task));
    setText(this.#note, block.error || task?.error || (isOver(status) ? "" : (task?.statusText ?? "")));
    this.#outcome.show({ message }, block);
    this.#bar.hidden = isOver(status);
    this.#bar.setAttribute("aria-label", `Progress of ${this.#name.textContent}`);
    if (status === "pending") this.#bar.removeAttribute("value");
    else this.#bar.value = progress;
  }
}

const isOver = (status) => ["completed", "failed", "cancelled"].includes(status);

function statusOf(task, status, progress) {
  if (status === "processing") return `${Math.round(progress * 100)} %${again(task)}`;
  if (!isOver(status) || !task?.endTime) return status + again(task);
  return `${status} in ${span(Date.parse(task.endTime) - Date.parse(task.createTime))}`;
}

const again = (task) => (task?.attempt > 1 ? ` · attempt ${task.attempt} of ${task.maxAttempts}` : "");

/** What the worker said when it ended the task: "max iterations · 8 model calls". */
export function outcomeOf(task) {
  const { stopReason, usage = {} } = task?.outcome ?? {};
  const { modelCalls, inputTokens, outputTokens, toolCalls } = usage;
  return [
    stopReason && word(stopReason, "STOP_REASON_"),
    modelCalls && count(modelCalls, "model call"),
    inputTokens && `${count(inputTokens, "token")} in`,
    outputTokens && `${count(outputTokens, "token")} out`,
    toolCalls && count(toolCalls, "tool call"),
  ].filter(Boolean).join(" · ");
}

/** What a task was asked to do, in one line. */
function paramsOf(task) {
  const params = Object.entries(task?.params ?? {});
  if (params.length === 1 && typeof params[0][1] === "string") return params[0][1];
  return params.map(([name, value]) => `${name}: ${typeof value === "string" ? value : JSON.stringify(value)}`).join(" · ");
}
