// The provider's signing keys: one of each kind that a gateway may have to verify, and their rotation.
import * as jose from 'jose';

export const ALGORITHMS = ['RS256', 'PS256', 'ES256', 'ES384', 'ES512', 'Ed25519'];

let generation = 0;

/** One generation of private keys, as JWKs. */
export async function newKeys() {
  generation += 1;
  return Promise.all(ALGORITHMS.map(async (alg) => {
    const { privateKey } = await jose.generateKeyPair(alg, { extractable: true });
    return { ...await jose.exportJWK(privateKey), use: 'sig', alg, kid: `${alg}-${generation}` };
  }));
}

/** Verifies one of our own JWT access tokens, and returns its claims. */
export async function verifyOwn(token, keys, issuer) {
  const published = keys.map(({ kty, crv, x, y, n, e, use, alg, kid }) => ({ kty, crv, x, y, n, e, use, alg, kid }));
  const { payload } = await jose.jwtVerify(token, jose.createLocalJWKSet({ keys: published }), { issuer, typ: 'at+jwt' });
  return payload;
}
