/** The report of the public API: what each entry of the package exports, as its declarations say it, without comments.
 *
 *      node api.mjs [FOLDER]           prints the report of what was built there, by default dist
 */

import { readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import ts from 'typescript';

const here = fileURLToPath(new URL('.', import.meta.url));
const { name, exports } = JSON.parse(readFileSync(join(here, 'package.json'), 'utf8'));

/** The statement of a declaration: that of a constant is two levels above it. */
const statementOf = (node) => (ts.isVariableDeclaration(node) ? node.parent.parent : node);

export function report(folder) {
  const entries = Object.entries(exports).map(([path, { import: { types } }]) => [
    path.replace('.', name), join(folder, types.replace('./dist/', '')),
  ]);
  const program = ts.createProgram(entries.map(([, file]) => file), { module: ts.ModuleKind.NodeNext });
  const checker = program.getTypeChecker();
  const printer = ts.createPrinter({ removeComments: true });
  const print = (node) => printer.printNode(ts.EmitHint.Unspecified, node, node.getSourceFile());
  const sections = entries.map(([entry, file]) => {
    const symbols = checker.getExportsOfModule(checker.getSymbolAtLocation(program.getSourceFile(file)));
    const declarations = symbols.flatMap((symbol) => {
      const target = symbol.flags & ts.SymbolFlags.Alias ? checker.getAliasedSymbol(symbol) : symbol;
      return target.declarations.map((node) => print(statementOf(node)));
    });
    return `## ${entry}\n\n\`\`\`ts\n${declarations.sort().join('\n\n')}\n\`\`\`\n`;
  });
  return `# API\n\nWritten by \`npm run build\`. A change here is a change for users of the package.\n\n${sections.join('\n')}`;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) process.stdout.write(report(resolve(process.argv[2] ?? join(here, 'dist'))));
