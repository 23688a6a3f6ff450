/** Work that may be asked for at any time: never two at once, and once more after one during which it was asked for. */
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
        await this.#work();
      }
    } finally {
      this.#running = null;
    }
  }
}
