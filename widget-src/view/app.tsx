/** @jsxRuntime classic */
/** @jsx h */
import { h, render } from "preact";
import type { Settings } from "../embed/settings.ts";
import { css, parse, readable, textOn, type Rgb } from "./color.ts";
import { fitInput } from "./composer.tsx";
import { launcher, panel } from "./panel.tsx";
import { keepPlace } from "./scroll.ts";
import { classes, dark, inline, mobile, open, settings, used, words } from "./store.ts";

/** `--soft` in styles/base.css: bubbles, on which links stand. */
const DAY: Rgb = [242, 243, 246];
const NIGHT: Rgb = [38, 40, 46];

/** The client's colour, and what can be read on it and beside it. */
export function palette({ primary, primary_dark, radius }: Settings, night: boolean): string {
  const brand = parse(night ? primary_dark : primary)!;
  return `--brand:${css(brand)};--on:${css(textOn(brand))};--accent:${css(readable(brand, night ? NIGHT : DAY))};--radius:${radius}px`;
}

/** A key pressed in the chat is not a shortcut of the page around it. */
const own = (event: Event) => event.stopPropagation();

/** Draws everything. What did not change is not touched. */
export function drawApp(root: ShadowRoot): void {
  render(
    <div
      class={classes("fd", settings.position, open && "open", dark && "dark", mobile && "mobile", inline && "inline")}
      dir={words.rtl ? "rtl" : "ltr"}
      lang={words.language}
      style={palette(settings, dark)}
      onKeyDown={own}
      onKeyUp={own}
      onKeyPress={own}
    >
      {used && panel()}
      {!inline && launcher()}
    </div>,
    root,
  );
  fitInput();
  keepPlace();
}
