// Token exchange (RFC 8693): a client acts for the subject of one of our access tokens at another audience.
import { errors } from 'oidc-provider';
import { audienceNamed, LIFETIME, resourceNamed } from './resources.mjs';

export const GRANT = 'urn:ietf:params:oauth:grant-type:token-exchange';
export const PARAMETERS = [
  'subject_token', 'subject_token_type', 'requested_token_type', 'actor_token', 'actor_token_type', 'audience', 'resource', 'scope',
];
const ACCESS_TOKEN = 'urn:ietf:params:oauth:token-type:access_token';
const JWT = 'urn:ietf:params:oauth:token-type:jwt';
const KEPT = ['groups', 'acr', 'amr', 'auth_time', 'sid'];

/** The claims of a subject token that is ours and still good. */
async function subjectOf(provider, token, verify) {
  try {
    if (token.split('.').length === 3) return await verify(token);
  } catch {
    throw new errors.InvalidGrant('subject_token is not valid');
  }
  const found = await provider.AccessToken.find(token) ?? await provider.ClientCredentials.find(token);
  if (!found?.isValid) throw new errors.InvalidGrant('subject_token is not valid');
  return { ...found.extra, sub: found.accountId ?? found.clientId, scope: found.scope, exp: found.exp };
}

function requested(params) {
  if (!params.subject_token) throw new errors.InvalidRequest('subject_token is missing');
  if (![ACCESS_TOKEN, JWT].includes(params.subject_token_type)) throw new errors.InvalidRequest('subject_token_type is not supported');
  if (params.actor_token || params.actor_token_type) throw new errors.InvalidRequest('actor_token is not supported: the client is the actor');
  if (params.requested_token_type && params.requested_token_type !== ACCESS_TOKEN) throw new errors.InvalidRequest('requested_token_type is not supported');
  const name = params.resource ?? params.audience;
  const server = params.resource ? resourceNamed(params.resource) : audienceNamed(params.audience ?? '');
  if (!server) throw new errors.InvalidTarget();
  return { name, server };
}

/** Makes the grant's handler; `claimsOf` remembers what a token must say besides the usual. */
export const exchange = (claimsOf, verify) => async (ctx) => {
  const { provider, client, params } = ctx.oidc;
  const { name, server } = requested(params);
  const subject = await subjectOf(provider, params.subject_token, (token) => verify(token, provider.issuer));
  const granted = new Set((subject.scope ?? '').split(' '));
  const scopes = (params.scope ?? subject.scope ?? '').split(' ').filter(Boolean);
  if (!scopes.every((scope) => granted.has(scope))) throw new errors.InvalidScope('more than the subject has', params.scope);

  const life = Math.min(LIFETIME, subject.exp - Math.floor(Date.now() / 1000));
  if (life <= 0) throw new errors.InvalidGrant('subject_token is not valid');
  const token = new provider.AccessToken({ accountId: subject.sub, client, scope: scopes.join(' ') || undefined, gty: 'token_exchange' });
  token.expiresIn = life;
  token.resourceServer = new provider.ResourceServer(name, server);
  const certificate = ctx.socket.getPeerX509Certificate?.();
  if (client.tlsClientCertificateBoundAccessTokens) {
    if (!certificate) throw new errors.InvalidGrant('mutual TLS client certificate not provided');
    token.setThumbprint('x5t', certificate);
  }
  claimsOf.set(token, {
    ...Object.fromEntries(KEPT.filter((claim) => subject[claim] !== undefined).map((claim) => [claim, subject[claim]])),
    act: { sub: client.clientId, ...(subject.act ? { act: subject.act } : {}) },
  });
  ctx.oidc.entity('AccessToken', token);
  ctx.body = {
    access_token: await token.save(), issued_token_type: ACCESS_TOKEN, token_type: token.tokenType, expires_in: life, scope: token.scope,
  };
};
