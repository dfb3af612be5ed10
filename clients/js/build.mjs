/** Builds `dist` (ESM, CJS, types for both), and the one file that the gateway's own pages use and that may be copied.
 *
 *      node build.mjs                  into dist, gateway/web/js/client.js, and the report api.md
 *      node build.mjs --dist FOLDER    only dist, there
 *      node build.mjs --check          only compares client.js with the sources: exit status 1 where it differs
 */

import { execFileSync } from 'node:child_process';
import { readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';

import { report } from './api.mjs';

const here = fileURLToPath(new URL('.', import.meta.url));
const page = fileURLToPath(new URL('../../gateway/web/js/client.js', import.meta.url));
const entries = ['index', 'react', 'share', 'sse', 'tracing'];

/** Names of properties between the modules of the client: on no frame, in no option, on no public object. Minifiers cannot
 *  know that, so the package has short ones. */
const internal = /^(position|replaying|listeners|asked|kept|owed|snapshot|changed|watched|present|begin|established|lost|refuse|mayRenew|accepted|expires|refresh|settle|fresh|ask|fail|command|ready|notify|names|gap|how|left|options|on|frame|reset|stop|retry|members|chance|upTo|start|report|deliver|measure|problem|transmit)$/;

const bundle = (options) => build({
  absWorkingDir: here, bundle: true, target: 'es2022', charset: 'utf8', logLevel: 'warning', packages: 'external', ...options,
});

/** client.js: one readable ES module. */
async function single() {
  const banner = '/** Client of the gathering gateway, one file: copy it. Built from clients/js; see its README. */';
  const { outputFiles } = await bundle({ entryPoints: ['src/single.ts'], format: 'esm', write: false, banner: { js: banner } });
  return outputFiles[0].text;
}

/** The package. */
async function dist(folder) {
  rmSync(folder, { recursive: true, force: true });
  const entryPoints = entries.map((entry) => `src/${entry}.ts`);
  for (const [format, extension] of [['esm', '.js'], ['cjs', '.cjs']]) {
    // Constants are in place: a minifier that gets the bundle leaves them. What entries share is one file, where modules may.
    const small = { mangleProps: internal, minifySyntax: true, splitting: format === 'esm', chunkNames: 'shared-[hash]' };
    await bundle({ entryPoints, format, outdir: folder, outExtension: { '.js': extension }, ...small });
  }
  const tsc = createRequire(import.meta.url).resolve('typescript/bin/tsc');
  execFileSync(process.execPath, [tsc, '-p', here, '--outDir', folder], { stdio: 'inherit' });
  // The same declarations for `require`, where a module's kind follows from its name.
  for (const name of readdirSync(folder).filter((file) => file.endsWith('.d.ts'))) {
    const text = readFileSync(join(folder, name), 'utf8').replaceAll(/(from '\.\/[\w-]+)\.js'/g, "$1.cjs'");
    writeFileSync(join(folder, name.replace('.d.ts', '.d.cts')), text);
  }
}

const [option, folder] = process.argv.slice(2);
if (option === '--dist') {
  await dist(resolve(folder));
} else if (option !== '--check') {
  writeFileSync(page, await single());
  await dist(join(here, 'dist'));
  writeFileSync(join(here, 'api.md'), report(join(here, 'dist')));
} else if (readFileSync(page, 'utf8') !== await single()) {
  console.error('gateway/web/js/client.js is not what clients/js/src builds; run `npm run build` in clients/js');
  process.exit(1);
}
