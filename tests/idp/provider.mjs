// How the OpenID Provider is set up: its features, what it puts into tokens, and users who sign in without a page.
import * as crypto from 'node:crypto';
import { errors, interactionPolicy, Provider } from 'oidc-provider';
import { exchange, GRANT, PARAMETERS } from './exchange.mjs';
import { verifyOwn } from './keys.mjs';
import { allResources, DEFAULT, resourceNamed, SCOPES } from './resources.mjs';

const LOW = 'urn:example:loa:1';
const HIGH = 'urn:example:loa:2';
const METHODS = { [LOW]: ['pwd'], [HIGH]: ['pwd', 'hwk', 'mfa'] };
const secrets = { nonce: crypto.randomBytes(32), cookie: crypto.randomBytes(32).toString('hex') };
const claimsOf = new WeakMap();

/** Claims besides the registered ones: of the client, of the sign-in, of an exchange, of this request (null takes one away). */
function extraTokenClaims(ctx, token) {
  const code = ctx.oidc.entities.AuthorizationCode;
  const signedIn = code ? { acr: code.acr, amr: code.amr, auth_time: code.authTime, sid: code.sid } : { auth_time: Math.floor(Date.now() / 1000) };
  const known = claimsOf.get(token) ?? { ...token.client.metadata().token_claims, ...signedIn };
  const all = { ...known, ...JSON.parse(ctx.oidc.body?.token_claims ?? '{}') };
  return Object.fromEntries(Object.entries(all).filter(([, value]) => value !== null && value !== undefined));
}

const certificate = (ctx) => ctx.socket.getPeerX509Certificate?.();

const mTLS = {
  enabled: true, certificateBoundAccessTokens: true, selfSignedTlsClientAuth: true, tlsClientAuth: true,
  getCertificate: certificate,
  certificateAuthorized: (ctx) => ctx.socket.authorized === true,
  certificateSubjectMatches: (ctx, property, expected) => property === 'tls_client_auth_san_uri'
    && (certificate(ctx).subjectAltName ?? '').split(', ').includes(`URI:${expected}`),
};

/** A user who has to prove more than before, or again, is asked; what was asked for is what is then proved. */
function policy() {
  const prompts = interactionPolicy.base();
  const { Check } = interactionPolicy;
  prompts.get('login').checks.push(new Check('acr_values', 'a stronger sign-in is required', (ctx) => {
    const wanted = ctx.oidc.params.acr_values?.split(' ');
    return wanted && !ctx.oidc.result?.login && !wanted.includes(ctx.oidc.session.acr) ? Check.REQUEST_PROMPT : Check.NO_NEED_TO_PROMPT;
  }));
  return prompts;
}

async function loadExistingGrant(ctx) {
  const grant = new ctx.oidc.provider.Grant({ clientId: ctx.oidc.client.clientId, accountId: ctx.oidc.session.accountId });
  grant.addOIDCScope(`openid ${SCOPES.join(' ')}`);
  for (const resource of allResources()) grant.addResourceScope(resource, SCOPES.join(' '));
  await grant.save();
  return grant;
}

/** Signs in at once whoever `login_hint` names, as strongly as `acr_values` asks. */
async function signIn(provider, req, res) {
  const { params } = await provider.interactionDetails(req, res);
  const acr = params.acr_values?.split(' ')[0] ?? LOW;
  await provider.interactionFinished(req, res, { login: { accountId: params.login_hint, acr, amr: METHODS[acr] } });
}

/** Makes a request handler for an issuer with these clients and keys. */
export function makeProvider(issuer, clients, keys) {
  const provider = new Provider(issuer, {
    clients, jwks: { keys }, scopes: ['openid', ...SCOPES], acrValues: [LOW, HIGH], cookies: { keys: [secrets.cookie] },
    clientAuthMethods: ['client_secret_basic', 'client_secret_post', 'private_key_jwt', 'tls_client_auth', 'self_signed_tls_client_auth', 'none'],
    extraClientMetadata: { properties: ['token_claims', 'demand_dpop_nonce'] },
    extraTokenClaims, loadExistingGrant,
    findAccount: (ctx, id) => ({ accountId: id, claims: async () => ({ sub: id }) }),
    interactions: { policy: policy(), url: (ctx, interaction) => `/interaction/${interaction.uid}` },
    features: {
      devInteractions: { enabled: false }, clientCredentials: { enabled: true }, introspection: { enabled: true }, revocation: { enabled: true },
      dPoP: { enabled: true, nonceSecret: secrets.nonce, requireNonce: (ctx) => ctx.oidc.client.metadata().demand_dpop_nonce === true },
      mTLS,
      resourceIndicators: {
        enabled: true, defaultResource: () => DEFAULT, useGrantedResource: () => true,
        getResourceServerInfo: (ctx, name) => {
          const server = resourceNamed(name);
          if (!server) throw new errors.InvalidTarget();
          return server;
        },
      },
    },
  });
  provider.registerGrantType(GRANT, exchange(claimsOf, (token) => verifyOwn(token, keys, issuer)), PARAMETERS);
  provider.on('server_error', (ctx, error) => console.error('server_error', error));
  provider.on('grant.error', (ctx, error) => console.error('grant.error', error.message, error.error_description, error.error_detail));
  const handle = provider.callback();
  return (req, res) => {
    if (!req.url.startsWith('/interaction/')) return handle(req, res);
    return signIn(provider, req, res).catch((error) => { console.error('sign-in', error); res.statusCode = 500; res.end(); });
  };
}
