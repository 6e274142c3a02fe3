// The task behind a block: how far it is, and how it ended.

import { h, icon, setText } from "./dom.js";
import { span, word } from "./format.js";

const ICONS = { CONTENT_TYPE_IMAGE: "image", CONTENT_TYPE_AUDIO: "sound", CONTENT_TYPE_VIDEO: "film" };

/** Shows the task whose result a block stands for; nothing for a block without one. */
export class TaskView {
  #icon = h("span", { class: "task-icon" });
  #name = h("span", { class: "task-name" });
  #status = h("span", { class: "task-status" });
  #bar = h("progress", { max: 1, value: 0 });
  #note = h("p", { class: "task-note" });
  #params = h("p", { class: "task-params" });
  node = h("div", { class: "task", hidden: true }, h("div", { class: "task-head" }, this.#icon, this.#name, this.#status), this.#params, this.#bar, this.#note);

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

/** What a task was asked to do, in one line. */
function paramsOf(task) {
  const params = Object.entries(task?.params ?? {});
  if (params.length === 1 && typeof params[0][1] === "string") return params[0][1];
  return params.map(([name, value]) => `${name}: ${typeof value === "string" ? value : JSON.stringify(value)}`).join(" · ");
}
