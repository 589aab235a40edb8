import assert from "node:assert/strict";
import { test } from "node:test";
import { contrast, luminance, parse, readable, textOn, type Rgb } from "./color.ts";

test("only #rrggbb is a colour", () => {
  assert.deepEqual(parse("#C2410c"), [194, 65, 12]);
  for (const wrong of ["red", "#fff", "#12345g", "#1234567", "#112233;x:y", null, 5]) assert.equal(parse(wrong), null);
});

test("contrast as WCAG defines it", () => {
  assert.equal(contrast([0, 0, 0], [255, 255, 255]), 21);
  assert.ok(Math.abs(contrast([119, 119, 119], [255, 255, 255]) - 4.48) < 0.01);
  assert.ok(Math.abs(luminance([255, 0, 0]) - 0.2126) < 1e-9);
});

test("text on and beside every colour can be read, in light and dark", () => {
  for (let r = 0; r < 256; r += 17)
    for (let g = 0; g < 256; g += 17)
      for (let b = 0; b < 256; b += 17) {
        const color: Rgb = [r, g, b];
        assert.ok(contrast(textOn(color), color) >= 4.5, String(color));
        for (const surface of [[255, 255, 255], [24, 25, 29]]) assert.ok(contrast(readable(color, surface), surface) >= 4.5, String(color));
      }
});
