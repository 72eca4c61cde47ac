// What tokens are asked for: each resource server decides format, algorithm, audience and life of its tokens.
import * as crypto from 'node:crypto';
import { ALGORITHMS } from './keys.mjs';

export const AUDIENCE = 'model-gateway';
export const SCOPES = ['models:chat', 'models:embed', 'models:infer', 'models:admin'];
export const LIFETIME = 300; // seconds
const SHORT = 3; // seconds: expires while a stream runs
const SCOPE = SCOPES.join(' ');

const jwt = (alg, more = {}) => ({
  scope: SCOPE, audience: AUDIENCE, accessTokenFormat: 'jwt', accessTokenTTL: LIFETIME, jwt: { sign: { alg } }, ...more,
});
const opaque = (more = {}) => ({
  scope: SCOPE, audience: AUDIENCE, accessTokenFormat: 'opaque', accessTokenTTL: LIFETIME, ...more,
});

const RESOURCES = {
  ...Object.fromEntries(ALGORITHMS.map((alg) => [`urn:gw:${alg.toLowerCase()}`, jwt(alg)])),
  'urn:gw:short': jwt('ES256', { accessTokenTTL: SHORT }),
  'urn:gw:other': jwt('ES256', { audience: 'another-api' }),
  'urn:gw:hs256': jwt('HS256', { jwt: { sign: { alg: 'HS256', key: crypto.createSecretKey(crypto.randomBytes(32)) } } }),
  'urn:gw:opaque': opaque(),
  'urn:gw:opaque-short': opaque({ accessTokenTTL: SHORT }),
  'urn:gw:opaque-other': opaque({ audience: 'another-api' }),
};
export const DEFAULT = 'urn:gw:es256';
const BACKEND = /^urn:backend:[a-z0-9-]+$/; // where a gateway may want to go on a caller's behalf

/** Settings of a resource server by its identifier, or undefined. */
export const resourceNamed = (name) => RESOURCES[name]
  ?? (BACKEND.test(name) ? jwt('ES256', { audience: name }) : undefined);

/** The same, for `audience` of RFC 8693: a resource server's name or its identifier. */
export const audienceNamed = (name) => (name === AUDIENCE ? RESOURCES[DEFAULT] : resourceNamed(name));

/** Everything that a user may be asked to grant. */
export const allResources = () => Object.keys(RESOURCES);
