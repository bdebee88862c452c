/ SPDX-License-Identifier: Apache-2.0
/ apply-parted.q - puts q's parted attribute on column sym of a database that Penstock wrote.
/ Usage: q apply-parted.q DATABASE [DATE ...]     all dates if none is given
/ Penstock groups the rows of every table by symbol but does not write q's p# index itself
/ (penstock hdb verify says "p# ready" where it can be applied). This script lets q rewrite the
/ file of column sym in place: run it when nobody queries these dates. Tables that have the attribute
/ already, have no column sym or are empty are passed over; one whose rows are not grouped by symbol
/ is named and left as it is. The exit code is the number of those, at most 255.

if[0=count .z.x; -2"usage: q apply-parted.q DATABASE [DATE ...]"; exit 2];

path:first .z.x;
root:hsym`$path;
`sym set get ` sv root,`sym;

/ the disks: the lines of par.txt, relative to the root, or the root itself
full:{[line] $["/"=first line; line; path,"/",line]};
nonempty:{[lines] lines where 0<count each lines};
disks:$[`par.txt in key root; hsym each `$full each nonempty read0 ` sv root,`par.txt; enlist root];

/ the directories <disk>/<date>/<table> whose .d names sym
wanted:`$1_.z.x;
isdate:{[d] d like "[0-9][0-9][0-9][0-9].[0-9][0-9].[0-9][0-9]"};
chosen:{[d] $[0=count wanted; (count d)#1b; d in wanted]};
visible:{[t] not (t like ".*")|t like "*$"};
datedirs:{[disk] d:key disk; d:d where isdate d; d:d where chosen d; {[a;b] ` sv a,b}[disk] each d};
tabledirs:{[date] t:key date; t:t where visible t; {[a;b] ` sv a,b}[date] each t};
hassym:{[t] $[`.d in key t; `sym in get ` sv t,`.d; 0b]};

parted:0;
failed:0;
part:{[t]
  c:get ` sv t,`sym;
  if[`p=attr c; :0b];
  if[0=count c; :0b];
  ok:.[{[t] @[` sv t,`; `sym; `p#]; 1b}; enlist t; {[t;e] -2 (1_string t),": ",e; 0b}[t]];
  $[ok; parted::parted+1; failed::failed+1];
  ok};

todo:raze tabledirs each raze datedirs each disks;
part each todo where hassym each todo;
-1 (string parted)," tables parted, ",(string failed)," could not be";
exit 255&failed
