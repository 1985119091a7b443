// A clock and a WebSocket class that do nothing by themselves, so that a test decides what happens when.

/** Stands in for the global timers until `restore()`. */
export class Clock {
  now = 0;
  #timers = new Map();
  #next = 1;
  #real = {};

  constructor() {
    const set = (repeats) => (run, delay = 0) => {
      this.#timers.set(this.#next, { run, at: this.now + delay, every: repeats ? delay : null });
      return this.#next++;
    };
    const clear = (timer) => this.#timers.delete(timer);
    const fakes = { setTimeout: set(false), setInterval: set(true), clearTimeout: clear, clearInterval: clear };
    for (const [name, fake] of Object.entries(fakes)) {
      this.#real[name] = globalThis[name];
      globalThis[name] = fake;
    }
  }

  get pending() {
    return this.#timers.size;
  }

  /** Everything that is due within so many milliseconds, in order. */
  pass(milliseconds) {
    const end = this.now + milliseconds;
    for (;;) {
      const due = [...this.#timers].filter(([, timer]) => timer.at <= end).sort(([, one], [, other]) => one.at - other.at)[0];
      if (!due) break;
      const [number, timer] = due;
      this.now = timer.at;
      if (timer.every === null) this.#timers.delete(number);
      else timer.at += timer.every;
      timer.run();
    }
    this.now = end;
  }

  restore() {
    Object.assign(globalThis, this.#real);
  }
}

/** A class of sockets that belong to one test, with all that were made. */
export function socketClass() {
  return class Socket {
    static made = [];
    static get last() {
      return this.made.at(-1);
    }

    readyState = 0;
    sent = [];
    closedWith = null;

    constructor(url) {
      this.url = url;
      this.constructor.made.push(this);
    }

    send(text) {
      if (this.readyState !== 1) throw new Error("not open");
      this.sent.push(JSON.parse(text));
    }

    close(code) {
      this.readyState = 2;
      this.closedWith ??= code;
    }

    greet(client_id = "c-1") {
      this.readyState = 1;
      this.onopen?.({ type: "open" });
      this.say("connected", { client_id });
    }

    say(type, payload, sequence = null) {
      this.raw(JSON.stringify({ type, payload, timestamp: "2026-03-01T10:30:00.000Z", sequence }));
    }

    raw(data) {
      this.onmessage?.({ type: "message", data });
    }

    fail() {
      this.onerror?.({ type: "error" });
      this.drop(1006, "");
    }

    drop(code, reason) {
      this.readyState = 3;
      this.onclose?.({ type: "close", code, reason });
    }
  };
}

/** As much of React as the hook uses: one component, rendered again when a state of it changes. */
export class Component {
  #cells = [];
  #cell = 0;
  #effects = [];
  #dirty = false;
  renderings = 0;

  constructor(render) {
    this.render = render;
    const cell = (initial) => (this.#cells[this.#cell++] ??= initial());
    this.React = {
      useRef: (initial) => cell(() => ({ current: initial })),
      useState: (initial) => {
        const state = cell(() => ({ value: initial }));
        state.set ??= (next) => {
          if (Object.is(next, state.value)) return;
          state.value = next;
          this.#dirty = true;
        };
        return [state.value, state.set];
      },
      useEffect: (effect, dependencies) => {
        const known = cell(() => ({}));
        const same = known.dependencies?.every((one, index) => Object.is(one, dependencies[index]));
        if (!same) this.#effects.push(Object.assign(known, { effect, dependencies }));
      },
    };
  }

  /** Renders until nothing changes any more. */
  settle() {
    do {
      this.#dirty = false;
      this.#cell = 0;
      this.renderings += 1;
      if (this.renderings > 50) throw new Error("the component renders for ever");
      this.shown = this.render(this.React);
      for (const known of this.#effects.splice(0)) {
        known.cleanup?.();
        known.cleanup = known.effect();
      }
    } while (this.#dirty);
    return this.shown;
  }

  unmount() {
    for (const cell of this.#cells) cell.cleanup?.();
  }
}
