/** How the widget looks and greets, from four sources: code, then attribute, then dashboard, then default. */

import type { Config, WidgetConfig } from "../core/protocol.gen.ts";
import { parse } from "../view/color.ts";

export interface Settings {
  title: string;
  subtitle?: string;
  primary: string;
  primary_dark: string;
  logo_url?: string;
  position: "left" | "right";
  welcome_message?: string;
  suggestions: string[];
  theme: "auto" | "light" | "dark";
  /** Corner of the panel, px. */
  radius: number;
  launcher_text?: string;
  /** What the visitor is taken to speak; the widget itself may have no words in it. */
  locale: string;
  branding?: boolean;
  /** Longest message, in characters. */
  limit: number;
}

/** What code may change with `frontdesk('update', {...})`. */
export type Update = Partial<WidgetConfig> & { locale?: string };

/** What each value must look like. One that does not is passed over. */
const VALID = {
  title: /\S/,
  subtitle: /\S/,
  logo_url: /^(https?:|\/)/,
  position: /^(left|right)$/,
  welcome_message: /\S/,
  theme: /^(auto|light|dark)$/,
  radius: /^([01]?\d|2[0-8])$/,
  launcher_text: /\S/,
  locale: /^(?!.{36})[a-z]{2,3}(-[a-z\d]+)*$/i,
};

const MAX_SUGGESTIONS = 6;

/** The language that the page asks for; empty where it leaves that to the dashboard. */
export function wantedLocale(code: Update, attributes: Update): string {
  return [code.locale, attributes.locale].find((locale) => VALID.locale.test(locale ?? "")) ?? "";
}

export function resolve(code: Update, attributes: Update, config: Config, api: string): Settings {
  const { name, locale, limits, branding, widget } = config;
  const settings: Settings = {
    title: name,
    primary: "#4f46e5",
    primary_dark: "",
    position: "right",
    suggestions: [],
    theme: "auto",
    radius: 18,
    locale: "en",
    branding,
    limit: limits.message_characters,
  };
  for (const source of [{ locale }, widget, attributes, code] as Update[]) {
    for (const key of Object.keys(VALID) as (keyof typeof VALID)[]) {
      const value = source[key];
      if (typeof value !== "object" && VALID[key].test(String(value ?? ""))) Object.assign(settings, { [key]: value });
    }
    const { colors, suggestions } = source;
    if (parse(colors?.primary)) settings.primary = colors!.primary!;
    if (parse(colors?.primary_dark)) settings.primary_dark = colors!.primary_dark!;
    if (Array.isArray(suggestions)) settings.suggestions = suggestions.filter((s) => VALID.title.test(s)).slice(0, MAX_SUGGESTIONS);
  }
  settings.primary_dark ||= settings.primary;
  if (settings.logo_url) settings.logo_url = new URL(settings.logo_url, api).href;
  return settings;
}
