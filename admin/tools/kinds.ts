/** The names that the bodies of tools and integrations are made of. */

import type { CatalogueTool, EndpointInfo, IntegrationInfo } from "../core/api.gen.ts";

export type IntegrationKind = IntegrationInfo["integration_type"];
export type EndpointMethod = EndpointInfo["method"];
export type Effect = CatalogueTool["effect"];
export type Proof = CatalogueTool["proof"];
export type Binding = CatalogueTool["bound"][string];
