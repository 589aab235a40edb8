import base from "./base.css";
import bubble from "./bubble.css";
import composer from "./composer.css";
import launcher from "./launcher.css";
import markdown from "./markdown.css";
import panel from "./panel.css";

export const CSS = base + launcher + panel + bubble + composer + markdown;
