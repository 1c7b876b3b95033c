// Passwords and tokens.
import { randomBytes, scrypt, timingSafeEqual } from 'node:crypto';
import { promisify } from 'node:util';
import jwt from 'jsonwebtoken';

const derive = promisify(scrypt);

export async function hashPassword(password) {
  const salt = randomBytes(16);
  return `${salt.toString('hex')}:${(await derive(password, salt, 32)).toString('hex')}`;
}

export async function isPassword(password, hash) {
  const [salt, key] = hash.split(':').map((part) => Buffer.from(part, 'hex'));
  return timingSafeEqual(await derive(password, salt, 32), key);
}

export const signToken = (user, secret) =>
  jwt.sign({ sub: user.id, email: user.email, role: user.role }, secret, { algorithm: 'HS256', expiresIn: '1h' });

export const readToken = (token, secret) => jwt.verify(token, secret, { algorithms: ['HS256'] });

/** The claims of an `Authorization` header; throws when it is not an admin's. */
export function adminIn(header, secret) {
  const claims = readToken((header ?? '').replace(/^Bearer /, ''), secret);
  if (claims.role !== 'admin') throw new Error('not an admin');
  return claims;
}
