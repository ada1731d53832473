BEGIN TRANSACTION;
CREATE TABLE alembic_version (
	version_num VARCHAR(32) NOT NULL, 
	CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)
);
INSERT INTO "alembic_version" VALUES('0001');
CREATE TABLE campaign (
	name TEXT NOT NULL, 
	version INTEGER NOT NULL, 
	seq INTEGER NOT NULL, 
	PRIMARY KEY (name), 
	FOREIGN KEY(seq) REFERENCES event (seq)
);
INSERT INTO "campaign" VALUES('c',1,1);
CREATE TABLE campaign_version (
	campaign TEXT NOT NULL, 
	version INTEGER NOT NULL, 
	spec TEXT NOT NULL, 
	sha256 TEXT NOT NULL, 
	seq INTEGER NOT NULL, 
	PRIMARY KEY (campaign, version), 
	FOREIGN KEY(campaign) REFERENCES campaign (name), 
	FOREIGN KEY(seq) REFERENCES event (seq)
);
INSERT INTO "campaign_version" VALUES('c',1,'{"name":"c"}','34d4ef5d76af5eb4569a4f78ee79709083aec757c4a5545bea82a8ca8d58b673',1);
CREATE TABLE cell (
	id TEXT NOT NULL, 
	mix TEXT NOT NULL, 
	trial TEXT NOT NULL, 
	planned BOOLEAN NOT NULL, 
	channel TEXT, 
	active_mass_mg DOUBLE, 
	area_cm2 DOUBLE, 
	protocol TEXT, 
	details TEXT NOT NULL, 
	state TEXT NOT NULL, 
	seq INTEGER NOT NULL, 
	PRIMARY KEY (id), 
	FOREIGN KEY(mix) REFERENCES mix (id), 
	FOREIGN KEY(trial) REFERENCES trial (id), 
	FOREIGN KEY(seq) REFERENCES event (seq)
);
INSERT INTO "cell" VALUES('T0001-M1-C1','T0001-M1','T0001',1,'7',3.14,0.785,NULL,'{}','running',6);
CREATE TABLE change (
	seq INTEGER NOT NULL, 
	position INTEGER NOT NULL, 
	verb TEXT NOT NULL, 
	kind TEXT NOT NULL, 
	subject TEXT NOT NULL, 
	trial TEXT, 
	new TEXT NOT NULL, 
	PRIMARY KEY (seq, position), 
	FOREIGN KEY(seq) REFERENCES event (seq)
);
INSERT INTO "change" VALUES(2,0,'propose','trial','T0001','T0001','{"protocol":"{}","provenance":"{}","recipe_done":null,"state":"proposed"}');
INSERT INTO "change" VALUES(2,1,'propose','trial','T0002','T0002','{"protocol":"{}","provenance":"{}","recipe_done":null,"state":"proposed"}');
INSERT INTO "change" VALUES(2,2,'propose','trial','T0003','T0003','{"protocol":"{}","provenance":"{}","recipe_done":null,"state":"proposed"}');
INSERT INTO "change" VALUES(3,0,'add_trials','trial','T0004','T0004','{"protocol":"{}","provenance":"{\"doi\":\"10.1126/science.adt1882\"}","recipe_done":null,"state":"completed"}');
INSERT INTO "change" VALUES(4,0,'issue','trial','T0001','T0001','{"state":"issued"}');
INSERT INTO "change" VALUES(4,1,'issue','trial','T0002','T0002','{"state":"issued"}');
INSERT INTO "change" VALUES(5,0,'plan','mix','T0001-M1','T0001','{"details":"{}","recipe_done":null,"state":"planned"}');
INSERT INTO "change" VALUES(5,1,'mix','mix','T0001-M1','T0001','{"details":"{\"lot\":\"=A1\",\"mass_g\":2.0}","recipe_done":"{\"speed_rpm\":1010.5}","state":"mixed"}');
INSERT INTO "change" VALUES(5,2,'mix','trial','T0001','T0001','{"recipe_done":"{\"speed_rpm\":1010.5}","state":"mixing"}');
INSERT INTO "change" VALUES(6,0,'plan','cell','T0001-M1-C1','T0001','{"active_mass_mg":null,"area_cm2":null,"channel":null,"details":"{}","protocol":null,"state":"planned"}');
INSERT INTO "change" VALUES(6,1,'start','cell','T0001-M1-C1','T0001','{"active_mass_mg":3.14,"area_cm2":0.785,"channel":"7","state":"running"}');
INSERT INTO "change" VALUES(6,2,'start','trial','T0001','T0001','{"state":"testing"}');
INSERT INTO "change" VALUES(7,0,'register_file','file','abababababababababababababababababababababababababababababababab','T0001','{"details":"{}","subject":"T0001-M1-C1"}');
INSERT INTO "change" VALUES(11,0,'fail','trial','T0002','T0002','{"state":"failed"}');
CREATE TABLE cycling (
	subject TEXT NOT NULL, 
	cycle INTEGER NOT NULL, 
	seq INTEGER NOT NULL, 
	trial TEXT NOT NULL, 
	"discharge_areal_capacity_mAh_cm2" DOUBLE, 
	"charge_areal_capacity_mAh_cm2" DOUBLE, 
	"discharge_capacity_mAh" DOUBLE, 
	"charge_capacity_mAh" DOUBLE, 
	coulombic_efficiency DOUBLE, 
	"mean_discharge_voltage_V" DOUBLE, 
	"mean_charge_voltage_V" DOUBLE, 
	"polarisation_V" DOUBLE, 
	"pressure_change_MPa" DOUBLE, 
	vendor_cycle DOUBLE, 
	"vendor_discharge_capacity_mAh" DOUBLE, 
	"vendor_charge_capacity_mAh" DOUBLE, 
	partial BOOLEAN NOT NULL, 
	withdrawn BOOLEAN NOT NULL, 
	file TEXT, 
	flags TEXT, 
	PRIMARY KEY (subject, cycle, seq), 
	FOREIGN KEY(seq) REFERENCES event (seq), 
	FOREIGN KEY(trial) REFERENCES trial (id)
);
INSERT INTO "cycling" VALUES('T0001-M1-C1',1,8,'T0001',3.0,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,0,0,'abababababababababababababababababababababababababababababababab',NULL);
INSERT INTO "cycling" VALUES('T0001-M1-C1',2,8,'T0001',2.9,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,0,0,'abababababababababababababababababababababababababababababababab',NULL);
INSERT INTO "cycling" VALUES('T0001-M1-C1',3,8,'T0001',2.8,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,0,0,'abababababababababababababababababababababababababababababababab',NULL);
INSERT INTO "cycling" VALUES('T0001-M1-C1',2,10,'T0001',2.7,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,0,0,NULL,NULL);
CREATE TABLE decision (
	trial TEXT NOT NULL, 
	seq INTEGER NOT NULL, 
	model_version TEXT NOT NULL, 
	seed BIGINT NOT NULL, 
	data_seq INTEGER NOT NULL, 
	data_sha256 TEXT NOT NULL, 
	trust_in_prior DOUBLE, 
	acquisition DOUBLE, 
	reason TEXT, 
	outcome TEXT NOT NULL, 
	predicted_mean DOUBLE, 
	predicted_p05 DOUBLE, 
	predicted_p95 DOUBLE, 
	details TEXT NOT NULL, 
	PRIMARY KEY (trial), 
	FOREIGN KEY(trial) REFERENCES trial (id), 
	FOREIGN KEY(seq) REFERENCES event (seq)
);
INSERT INTO "decision" VALUES('T0001',2,'gp-1',3,1,'00',NULL,NULL,NULL,'q100_mAh_g',NULL,NULL,NULL,'{}');
INSERT INTO "decision" VALUES('T0002',2,'gp-1',3,1,'00',NULL,NULL,NULL,'q100_mAh_g',NULL,NULL,NULL,'{}');
INSERT INTO "decision" VALUES('T0003',2,'gp-1',3,1,'00',NULL,NULL,NULL,'q100_mAh_g',NULL,NULL,NULL,'{}');
CREATE TABLE event (
	seq INTEGER NOT NULL, 
	"key" TEXT NOT NULL, 
	verb TEXT NOT NULL, 
	content_sha256 TEXT NOT NULL, 
	answer TEXT NOT NULL, 
	campaign TEXT, 
	at TEXT NOT NULL, 
	"by" TEXT NOT NULL, 
	why TEXT, 
	PRIMARY KEY (seq), 
	UNIQUE ("key")
);
INSERT INTO "event" VALUES(1,'campaign c version 1','campaign','bcb9a557edabc70425c62378dc602cd8792dfff5f4dfebee7ca7860ecd7f9034','1','c','2026-03-01T09:30:00.000000+00:00','Ada',NULL);
INSERT INTO "event" VALUES(2,'propose 1','propose','8a41f3f761657e5afcc6bb783441717d09d2efba588b0cf018deb8eba205d805','["T0001","T0002","T0003"]','c','2026-03-01T09:30:00.000000+00:00','Ada',NULL);
INSERT INTO "event" VALUES(3,'import','add_trials','449dce9333aacb8849de9540436c83ec651dca4a1cfa0f315f92e14fd5e6a404','["T0004"]','c','2026-03-01T09:30:00.000000+00:00','Ada',NULL);
INSERT INTO "event" VALUES(4,'issue','issue','81c08652e78b92038b4f047ef60269f42984a20d2bcb454fe078a07b97e01dbc','null',NULL,'2026-03-01T09:30:00.000000+00:00','Ada',NULL);
INSERT INTO "event" VALUES(5,'mixed','mixed','916c353875d7907029d0b827d6b9fb7d6fdb5a22705ddc5972c8ca05c32605d7','"T0001-M1"',NULL,'2026-03-01T09:30:00.000000+00:00','Ada',NULL);
INSERT INTO "event" VALUES(6,'start','start','9a99406714455c06e07308d6f852227853ddf80a42978317a90e6f61f4a27411','"T0001-M1-C1"',NULL,'2026-03-01T09:30:00.000000+00:00','Ada',NULL);
INSERT INTO "event" VALUES(7,'file c abababababababababababababababababababababababababababababababab','register_file','548d2bf953b7e1cead96cf5161ba3eb65e734d9a9b4c76e618fbaa8a11612e04','null','c','2026-03-01T09:30:00.000000+00:00','Ada',NULL);
INSERT INTO "event" VALUES(8,'record','record','37f978b8bdf40b94215d6c8d72268755e6a48e0dbacbc9cc923795cf8818064f','{"cycles":3,"results":[2]}',NULL,'2026-03-01T09:30:00.000000+00:00','Ada',NULL);
INSERT INTO "event" VALUES(9,'amend','amend','9f1cc97fa957440c4ffd4c77dde3576c05b94a9e14f9e30c492c9936cc702ff5','{"cycles":0,"results":[3]}',NULL,'2026-03-01T09:30:00.000000+00:00','Ada','@typo
''x''');
INSERT INTO "event" VALUES(10,'amend 2','amend','626eb284a830582f1543d8cead8ee60e3051c96d1df0535da0c17e1a6ac02bc6','{"cycles":1,"results":[]}',NULL,'2026-03-01T09:30:00.000000+00:00','Ada','shunt');
INSERT INTO "event" VALUES(11,'fail','fail','f8b30f8df0a2c08ca5e676cc06f66b93b75db5bc39ac26a1667011af1ee6efe7','"failed"',NULL,'2026-03-01T09:30:00.000000+00:00','Ada','spilt');
CREATE TABLE file (
	campaign TEXT NOT NULL, 
	sha256 TEXT NOT NULL, 
	name TEXT NOT NULL, 
	size BIGINT NOT NULL, 
	subject TEXT, 
	details TEXT NOT NULL, 
	seq INTEGER NOT NULL, 
	PRIMARY KEY (campaign, sha256), 
	FOREIGN KEY(campaign) REFERENCES campaign (name), 
	FOREIGN KEY(seq) REFERENCES event (seq)
);
INSERT INTO "file" VALUES('c','abababababababababababababababababababababababababababababababab','-cell 1.csv',12,'T0001-M1-C1','{}',7);
CREATE TABLE lease (
	name TEXT NOT NULL, 
	holder TEXT NOT NULL, 
	fence INTEGER NOT NULL, 
	expires_at TEXT NOT NULL, 
	PRIMARY KEY (name)
);
INSERT INTO "lease" VALUES('tick c','host 1',1,'2026-03-01T09:31:00.000000+00:00');
CREATE TABLE ledger (
	id INTEGER NOT NULL, 
	seq INTEGER NOT NULL, 
	PRIMARY KEY (id)
);
INSERT INTO "ledger" VALUES(1,11);
CREATE TABLE mix (
	id TEXT NOT NULL, 
	trial TEXT NOT NULL, 
	planned BOOLEAN NOT NULL, 
	recipe_done TEXT, 
	details TEXT NOT NULL, 
	state TEXT NOT NULL, 
	seq INTEGER NOT NULL, 
	PRIMARY KEY (id), 
	FOREIGN KEY(trial) REFERENCES trial (id), 
	FOREIGN KEY(seq) REFERENCES event (seq)
);
INSERT INTO "mix" VALUES('T0001-M1','T0001',1,'{"speed_rpm":1010.5}','{"lot":"=A1","mass_g":2.0}','mixed',5);
CREATE TABLE outbox (
	campaign TEXT NOT NULL, 
	trial TEXT NOT NULL, 
	seq INTEGER NOT NULL, 
	done_seq INTEGER NOT NULL, 
	PRIMARY KEY (campaign, trial), 
	FOREIGN KEY(campaign) REFERENCES campaign (name)
);
INSERT INTO "outbox" VALUES('c','',3,0);
INSERT INTO "outbox" VALUES('c','T0001',10,0);
INSERT INTO "outbox" VALUES('c','T0002',11,0);
INSERT INTO "outbox" VALUES('c','T0003',2,0);
INSERT INTO "outbox" VALUES('c','T0004',3,0);
CREATE TABLE result (
	id INTEGER NOT NULL, 
	seq INTEGER NOT NULL, 
	trial TEXT NOT NULL, 
	subject TEXT NOT NULL, 
	observable TEXT NOT NULL, 
	unit TEXT NOT NULL, 
	cycle INTEGER, 
	relation TEXT NOT NULL, 
	value DOUBLE NOT NULL, 
	rel_uncertainty DOUBLE, 
	abs_uncertainty DOUBLE, 
	provenance TEXT, 
	file TEXT, 
	note TEXT, 
	supersedes INTEGER, 
	withdrawn BOOLEAN NOT NULL, 
	PRIMARY KEY (id), 
	CONSTRAINT ck_result_relation CHECK (relation IN ('=', '>=', '<=')), 
	FOREIGN KEY(seq) REFERENCES event (seq), 
	FOREIGN KEY(trial) REFERENCES trial (id), 
	UNIQUE (supersedes), 
	FOREIGN KEY(supersedes) REFERENCES result (id)
);
INSERT INTO "result" VALUES(1,3,'T0004','T0004','crystallite_size_um','um',NULL,'>=',2.45,NULL,NULL,NULL,NULL,NULL,NULL,0);
INSERT INTO "result" VALUES(2,8,'T0001','T0001-M1','crystallite_size_um','um',NULL,'=',1.5,NULL,NULL,NULL,NULL,NULL,NULL,0);
INSERT INTO "result" VALUES(3,9,'T0001','T0001-M1','crystallite_size_um','um',NULL,'=',-1.25,NULL,NULL,NULL,NULL,'+1',2,0);
CREATE TABLE trial (
	id TEXT NOT NULL, 
	number INTEGER NOT NULL, 
	campaign TEXT NOT NULL, 
	campaign_version INTEGER NOT NULL, 
	evaluator TEXT NOT NULL, 
	planned BOOLEAN NOT NULL, 
	recipe_asked TEXT NOT NULL, 
	recipe_done TEXT, 
	protocol TEXT NOT NULL, 
	provenance TEXT NOT NULL, 
	state TEXT NOT NULL, 
	seq INTEGER NOT NULL, 
	PRIMARY KEY (id), 
	FOREIGN KEY(campaign, campaign_version) REFERENCES campaign_version (campaign, version), 
	UNIQUE (number), 
	FOREIGN KEY(seq) REFERENCES event (seq)
);
INSERT INTO "trial" VALUES('T0001',1,'c',1,'lab',1,'{"speed_rpm":1000.0,"sse":"LPSCl","time_h":3.0}','{"speed_rpm":1010.5}','{}','{}','testing',2);
INSERT INTO "trial" VALUES('T0002',2,'c',1,'lab',1,'{"speed_rpm":1001.0,"sse":"LPSCl","time_h":3.0}',NULL,'{}','{}','failed',2);
INSERT INTO "trial" VALUES('T0003',3,'c',1,'lab',1,'{"speed_rpm":1002.0,"sse":"LPSCl","time_h":3.0}',NULL,'{}','{}','proposed',2);
INSERT INTO "trial" VALUES('T0004',4,'c',1,'published',0,'{"speed_rpm":2000.0,"sse":"LPSCl","time_h":3.0}',NULL,'{}','{"doi":"10.1126/science.adt1882"}','completed',3);
CREATE INDEX ix_event_campaign ON event (campaign);
CREATE INDEX ix_change_subject ON change (subject, seq);
CREATE INDEX ix_change_trial ON change (trial);
CREATE INDEX ix_trial_campaign ON trial (campaign);
CREATE INDEX ix_cell_mix ON cell (mix);
CREATE INDEX ix_result_subject ON result (subject);
CREATE INDEX ix_campaign_seq ON campaign (seq);
CREATE INDEX ix_campaign_version_seq ON campaign_version (seq);
CREATE INDEX ix_trial_seq ON trial (seq);
CREATE INDEX ix_mix_seq ON mix (seq);
CREATE INDEX ix_cell_seq ON cell (seq);
CREATE INDEX ix_result_seq ON result (seq);
CREATE INDEX ix_cycling_seq ON cycling (seq);
CREATE INDEX ix_file_seq ON file (seq);
CREATE INDEX ix_decision_seq ON decision (seq);
CREATE INDEX ix_mix_trial ON mix (trial);
CREATE INDEX ix_cell_trial ON cell (trial);
CREATE INDEX ix_result_trial ON result (trial);
CREATE INDEX ix_cycling_trial ON cycling (trial);
COMMIT;
