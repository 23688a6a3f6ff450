/**
 * Work that may be asked for at any time, such as loading what somebody else is changing: never two at once, and once
 * more after one during which it was asked for. It rests as long as it worked, so that a busy mount keeps no server
 * busier.
 */

const SHORTEST_REST_MS = 100;

export class Latest {
  #work;
  #running = null;
  #again = false;

  constructor(work) {
    this.#work = work;
  }

  /** Resolves when the work has been done from a beginning that is after this call. */
  async run() {
    this.#again = true;
    this.#running ??= this.#loop();
    await this.#running;
  }

  async #loop() {
    try {
      while (this.#again) {
        this.#again = false;
        const beganMs = performance.now();
        await this.#work();
        if (this.#again) await rest(performance.now() - beganMs);
      }
    } finally {
      this.#running = null;
    }
  }
}

function rest(workedMs) {
  return new Promise((resolve) => setTimeout(resolve, Math.max(SHORTEST_REST_MS, workedMs)));
}
