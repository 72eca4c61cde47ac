// Takes out of a package lock what installing does not need: where gifts are taken, so that no address stands in it.
import { readFileSync, writeFileSync } from 'node:fs';

const [path] = process.argv.slice(2);
const lock = JSON.parse(readFileSync(path, 'utf8'), (key, value) => (key === 'funding' ? undefined : value));
writeFileSync(path, `${JSON.stringify(lock, null, 2)}\n`);
