/** All that people fill in and choose. */

export * from "./choice.tsx";
export * from "./input.tsx";
export * from "./labelled.tsx";
